"""Libraries and manifests with some bytes changed, cut off or doubled, dropped into a running host: it judges each, runs those
that still can run in their workers, and serves on. (Tests/KnapHost/Store/MutationTests.swift has 10,000 more.)"""

import os
import random

import pytest

import plugins
from callers import Callers, Connection
from knap_host import wait_for
from test_workers import state_of

COUNT = 200 * int(os.environ.get("KNAP_STORM", "1"))
ORIGINAL = b"mutant-000000"
pytestmark = [pytest.mark.storms, pytest.mark.timeout(300)]


def mutated(content, seed):
    """The same for the same seed, everywhere."""
    dice, content = random.Random(seed), bytearray(content)
    way = dice.randrange(10)
    if way == 0:
        return content[:-dice.randint(1, len(content))]
    if way == 1:
        return content + content[dice.randrange(len(content)):]
    # The headers, the tables and the manifest at the end, or anything.
    first, last = [(0, 64), (max(0, len(content) - 6000), len(content)), (0, len(content))][way % 3]
    for _ in range(dice.randint(1, 24)):
        content[dice.randrange(first, min(last, len(content)))] = dice.randrange(256)
    return content


@pytest.mark.parametrize("kind", ["libraries", "manifests"])
def test_no_mutant_takes_the_host_down(place, kind):
    place.serve()
    host = place.host_pid()
    plugins.drop(place, plugins.build(place.root / "built", "steady"))
    wait_for(lambda: state_of(place, "steady") == "active", "the start")
    library = plugins.build(place.root / "built", ORIGINAL.decode(), hooks={
        "prepare_timeout_ms": 500, "activate_timeout_ms": 500, "suspend_timeout_ms": 500}, restart={"max_restarts": 1})
    content, folder = library.read_bytes(), place.state / "plugins"
    at = content.index(b'{"manifest"')
    manifest = content[at:content.index(b"\0", at)]
    with Callers(place, "test.steady.add") as steady:
        for seed in range(COUNT):
            name = b"mutant-%06d" % seed
            if kind == "libraries":
                (folder / f"{name.decode()}.so").write_bytes(mutated(content.replace(ORIGINAL, name), seed))
            else:
                # A library with another manifest beside it: they must agree.
                (folder / f"{name.decode()}.json").write_bytes(mutated(manifest.replace(ORIGINAL, name), seed))
                (folder / f"{name.decode()}.so").write_bytes(content.replace(ORIGINAL, name))
        operator = Connection(place)

        def judged():
            """Every file is refused or belongs to a plugin that was started or could not be."""
            shown = operator.call("host.plugins")["result"]["plugins"]
            known = {each["source"] for each in shown if each["state"] in ("active", "failed", "broken", "resolved", "waiting")}
            return len([each for each in known if "/mutant-" in each]) == COUNT

        wait_for(judged, "the host's judgement of each", 200)
        steady.wait_for_more(50)
        for path in folder.glob("mutant-*"):
            path.unlink()
        wait_for(lambda: not any("mutant-" in str(each["source"]) for each in operator.call("host.plugins")["result"]["plugins"]),
                 "the end of all", 200)
        steady.wait_for_more(50)
    assert steady.failures == [] and steady.results == list(range(1, len(steady.results) + 1))
    assert place.host_pid() == host
