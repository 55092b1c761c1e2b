"""Compiles the plugin `bench` of the worker benchmark into the folder that is given."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "EndToEnd"))
import plugins

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
