"""Compiles the plugins of the worker benchmark: `bench` into the first folder, what is to be replaced into the second, what is
to be started into the third."""

import json
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "EndToEnd"))
import plugins

ONE_AT_A_TIME = {"limits": {"in_flight": 1, "queue": 1024}}
# Each stays in the host's process for ever.
IMAGES = 200


def another(library, number):
    """The same code as another content, in a folder of its own."""
    copy = library.parent.parent / str(number) / library.name
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(library, copy)
    manifest = copy.with_suffix(".json")
    subprocess.run(["objcopy", "--dump-section", f".knap={manifest}", str(copy)], check=True)
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "drain_timeout_ms": 10_000 + number}))
    subprocess.run(["objcopy", "--update-section", f".knap={manifest}", str(copy)], check=True)
    manifest.unlink()


plugins.IDEMPOTENT.clear()
# What a tool call with five arguments is checked against.
INPUT = {
    "type": "object", "additionalProperties": False, "required": ["path", "content"],
    "properties": {
        "path": {"type": "string", "minLength": 1}, "content": {"type": "string"}, "overwrite": {"type": "boolean"},
        "version": {"type": "string"}, "limit": {"type": "integer", "minimum": 1}, "offset": {"type": "integer", "minimum": 0},
    },
}
plugins.build(sys.argv[1], "bench", drain_timeout_ms=10000, methods={"version": {"input": INPUT}})
contents = pathlib.Path(sys.argv[2])
for version in (1, 2):
    plugins.build(contents / f"c/{version}", "storm-c", version=f"{version}.0.0", drain_timeout_ms=10000)
    for language, embedded in [("embedded", True), ("swift", False)]:
        plugins.build_swift(contents / f"{language}/{version}", f"storm-{language}", version=f"{version}.0.0", embedded=embedded,
                            extensions=["knap.state/1"], drain_timeout_ms=10000, **ONE_AT_A_TIME)
for number in range(3, IMAGES + 1):
    another(contents / "swift/2/storm-swift.so", number)
starts = sys.argv[3]
plugins.build(starts, "start-c")
plugins.build_swift(starts, "start-swift", embedded=False)
plugins.build_swift(starts, "start-foundation", embedded=False, foundation=True)
