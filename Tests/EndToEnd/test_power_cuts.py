"""A host that dies at every step of a replacement: the next one comes up with the old or the new, and the right state."""

import json
import random
import subprocess
import time

import pytest

import plugins
from knap_host import wait_for
from test_live_changes import command
from test_probation import add, build, lines
from test_workers import attempt, info, state_of

pytestmark = pytest.mark.faults

# Where the host dies (see DeathPoint), in an upgrade that serves, in one that fails to start, and in a return.
UPGRADE = ["store-created", "store-filled", "store-written", "store-renamed", "store-durable", "before-replacing", "replacing", "checkpoint-copied", "before-switching", "switching",
           "before-switched", "switched"]
FAILING = ["switching", "before-returning", "returning", "restore-aside", "restore-half", "restore-done", "before-ended", "ended"]
RETURN = ["before-returning", "returning", "restore-aside", "restore-half", "restore-done", "before-ended", "ended"]
COMMIT = ["before-committed", "committed"]


def serve(place, die_at=None):
    """A host that may die before it says that it is ready."""
    if die_at:
        place.environment["KNAP_DIE_AT"] = die_at
    try:
        place.serve()
        return True
    except AssertionError:
        return False
    finally:
        place.environment.pop("KNAP_DIE_AT", None)


def stop(place, kill=False):
    process = place.processes[-1]
    (process.kill if kill else process.terminate)()
    process.wait(30)


def died(place):
    process = place.processes[-1]
    try:
        return process.wait(20) == -9
    except subprocess.TimeoutExpired:
        return False


def settled(place, name="ledger"):
    """What a new host makes of it: the version that serves."""
    assert serve(place), "the host does not come up again"
    shown = wait_for(lambda: (shown := info(place, name))["state"] == "active" and shown, f"the start of {name}")
    assert place.call(f"test.{name}.version") == shown["version"]
    return shown["version"]


def begin(place):
    place.serve()
    plugins.drop(place, build(place, "1.0.0"))
    wait_for(lambda: state_of(place, "ledger") == "active", "the start")
    add(place, "one")
    stop(place)


def check(place, version, allowed):
    """The state is that of the version that runs, and takes more."""
    assert version in allowed
    assert lines(place) == ("0:one;" if version == "1.0.0" else "1:one;")
    add(place, "more")
    assert lines(place).endswith(":one;more;")


# Where the host dies when it takes a new plugin in: from the drop directory, and when it is to copy it there first. A
# manifest that lies beside the library is stored beside it; what was learnt of the files is written when all are taken.
TAKING = [f"{what}-{step}" for what in ("beside", "store", "index") for step in ("created", "filled", "written", "renamed", "durable")]
INSTALLING = ["copy-written", "copy-renamed", "store-created", "store-written", "store-durable"]


def sidecar(place, library):
    """The library without its manifest, which lies beside it."""
    manifest = library.with_suffix(".json")
    subprocess.run(["objcopy", "--dump-section", f".knap={manifest}", "--remove-section", ".knap", str(library)], check=True)
    return manifest


def nothing_unfinished(place):
    return not [each for each in (place.state / "store").rglob("*.tmp")]


@pytest.mark.parametrize("point", TAKING)
def test_death_while_a_plugin_is_taken_in(place, point):
    library = build(place, "1.0.0")
    # What ships with Knap is there already.
    assert serve(place)
    stop(place)
    for file in [sidecar(place, library), library]:
        plugins.drop(place, file)
    assert not serve(place, die_at=point)
    assert died(place), "the point was not reached"
    assert settled(place) == "1.0.0" and nothing_unfinished(place)
    add(place, "one")
    assert lines(place) == "0:one;"


@pytest.mark.parametrize("point", INSTALLING)
def test_death_in_an_installation(place, point):
    library = build(place, "1.0.0")
    assert serve(place)
    stop(place)
    assert serve(place, die_at=point)
    command(place, "plugins", "install", str(library))
    assert died(place), "the point was not reached"
    # Either it is there whole, or there is no trace of it and it can be installed.
    assert serve(place) and nothing_unfinished(place)
    if state_of(place, "ledger") == "unknown":
        assert not (place.state / "plugins/ledger.so").exists()
        assert command(place, "plugins", "install", str(library)).returncode == 0
    wait_for(lambda: state_of(place, "ledger") == "active", "the start")
    assert place.call("test.ledger.version") == "1.0.0"


@pytest.mark.parametrize("point", UPGRADE)
def test_death_in_an_upgrade(place, point):
    begin(place)
    new = build(place, "2.0.0", schema=1)
    if serve(place, die_at=point):
        plugins.drop(place, new)
    assert died(place), "the point was not reached"
    if not (place.state / "plugins/ledger.so").read_bytes() == new.read_bytes():
        plugins.drop(place, new)
    check(place, settled(place), {"1.0.0", "2.0.0"})
    # Nothing is left half-done: the upgrade comes about, or has.
    wait_for(lambda: info(place, "ledger")["version"] == "2.0.0", "the upgrade")
    assert lines(place) == "1:one;more;"


@pytest.mark.parametrize("point", FAILING)
def test_death_in_an_upgrade_that_fails(place, point):
    begin(place)
    if serve(place, die_at=point):
        plugins.drop(place, build(place, "2.0.0", schema=1, defines=["ACTIVATED=abort"]))
    assert died(place), "the point was not reached"
    check(place, settled(place), {"1.0.0"})


@pytest.mark.parametrize("point", RETURN)
def test_death_in_a_return(place, point):
    begin(place)
    assert serve(place)
    plugins.drop(place, build(place, "2.0.0", schema=1))
    wait_for(lambda: info(place, "ledger")["version"] == "2.0.0", "the upgrade")
    stop(place)
    assert serve(place, die_at=point)
    attempt(place, "test.ledger.crash")
    assert died(place), "the point was not reached"
    # At the first point nobody knows yet that it is to return: the new one is on probation again.
    check(place, settled(place), {"1.0.0", "2.0.0"} if point == "before-returning" else {"1.0.0"})


@pytest.mark.parametrize("point", COMMIT)
def test_death_at_the_commit(place, point):
    begin(place)
    if serve(place, die_at=point):
        plugins.drop(place, build(place, "2.0.0", schema=1, probation=1))
    assert died(place), "the point was not reached"
    check(place, settled(place), {"2.0.0"})
    wait_for(lambda: not list((place.state / "checkpoints").iterdir()), "the removal of the copy")


@pytest.mark.parametrize("point", ["replacing", "switching", "before-switched", "switched", "upgrade-renaming"])
def test_death_in_an_upgrade_of_several_leaves_all_old_or_all_new(place, point):
    place.serve()
    plugins.drop(place, build(place, "1.0.0"))
    plugins.drop(place, build(place, "1.0.0", name="book", requires=[{"service": "test.ledger", "version": "^1.0.0"}]))
    for name in ["ledger", "book"]:
        wait_for(lambda: state_of(place, name) == "active", f"the start of {name}")
    stop(place)
    folder = place.root / "new"
    folder.mkdir()
    for name, requires in [("ledger", []), ("book", [{"service": "test.ledger", "version": "^2.0.0"}])]:
        library = build(place, "2.0.0", name=name, requires=requires)
        library.rename(folder / library.name)
    assert serve(place, die_at=point)
    command(place, "plugins", "upgrade", str(folder))
    assert died(place), "the point was not reached"
    version = settled(place)
    wait_for(lambda: state_of(place, "book") == "active", "the other one")
    assert info(place, "book")["version"] == version == ("1.0.0" if point in ("replacing", "switching", "before-switched") else "2.0.0")


@pytest.mark.storms
def test_death_at_random_moments_of_upgrades_and_returns(place):
    """Seeded; each round changes the format or returns, and the host dies somewhere in it."""
    seed = random.SystemRandom().randrange(1 << 30)
    dice = random.Random(seed)
    begin(place)
    libraries = [build(place, "1.0.0"), None]
    libraries[0] = libraries[0].rename(place.root / "first.so")
    libraries[1] = build(place, "2.0.0", schema=1).rename(place.root / "second.so")
    assert serve(place)
    for number in range(60):
        target = place.state / "plugins/ledger.so"
        if info(place, "ledger")["version"] == "1.0.0":
            command(place, "plugins", "release", "ledger", "--no-wait")
            target.write_bytes(libraries[1].read_bytes())
        else:
            command(place, "plugins", "rollback", "ledger", "--no-wait")
        time.sleep(dice.random() * 0.15)
        stop(place, kill=True)
        version = settled(place)
        found = lines(place)
        assert found == {"1.0.0": "0:one;", "2.0.0": "1:one;"}[version], (seed, number, version, found)
    json.loads(command(place, "history", "--json").stdout)
