"""Many reloads and many deaths, with callers who never stop. KNAP_STORM=N does N times as many (Tests/Benchmarks does)."""

import json
import os
import re
import shutil
import signal
import subprocess

import pytest

import plugins
from callers import Callers, Connection, carry_out
from footprint import Footprint
from knap_host import wait_for
from test_workers import info, state_of

SCALE = int(os.environ.get("KNAP_STORM", "1"))
CALLERS = 4
pytestmark = [pytest.mark.storms, pytest.mark.timeout(300 * SCALE)]

# Swift's methods here are not made for several threads at once; those who wait stand in line.
ONE_AT_A_TIME = {"limits": {"in_flight": 1, "queue": 1024}}
LANGUAGES = {
    "c": lambda folder, version: plugins.build(folder, "storm", version=version),
    "embedded-swift": lambda folder, version: plugins.build_swift(
        folder, "storm", version=version, extensions=["knap.state/1"], **ONE_AT_A_TIME),
    "swift": lambda folder, version: plugins.build_swift(
        folder, "storm", version=version, embedded=False, extensions=["knap.state/1"], **ONE_AT_A_TIME),
}


def builds(place, language):
    return [LANGUAGES[language](place.root / f"built{version}", f"{version}.0.0") for version in (1, 2)]


def begin(place, library, isolation):
    plugins.drop(place, library)
    wait_for(lambda: state_of(place, "storm") == "active", "the start")
    operator = Connection(place)
    assert carry_out(operator, "isolate", name="storm", isolation=isolation)[0]
    return operator


def check(callers):
    """Every call was answered by one generation, and none of them forgot any."""
    assert callers.failures == []
    assert sorted(callers.results) == list(range(1, len(callers.results) + 1))


@pytest.mark.parametrize("isolation", ["worker", "in-process"])
@pytest.mark.parametrize("language", ["c", "embedded-swift", "swift"])
def test_a_storm_of_reloads_loses_no_call_and_no_count(place, language, isolation):
    place.serve()
    old, new = builds(place, language)
    operator = begin(place, old, isolation)
    # Swift stays in the process, so what is loaded anew there is the same image.
    contents = [old, new] if (language, isolation) != ("swift", "in-process") else [old]
    with Callers(place, "test.storm.add", count=CALLERS) as callers:
        for number in range(1, 100 * SCALE + 1):
            if number % 2:
                done, message = carry_out(operator, "install", path=str(contents[number // 2 % len(contents)]))
            else:
                done, message = carry_out(operator, "reload", name="storm")
            assert done, message
            callers.wait_for_more(CALLERS)
    check(callers)


def test_swift_in_the_hosts_process_is_replaced_until_its_budget_is_used_up(place):
    """Each content is an image more, which stays."""
    place.environment["KNAP_HOST_SWIFT_MEGABYTES"] = "0"
    place.serve()
    library = LANGUAGES["swift"](place.root / "built", "1.0.0")
    operator = begin(place, library, "in-process")

    def another(number):
        """The same code as another content."""
        copy = shutil.copy(library, place.root / "built/other.so")
        manifest = place.root / "manifest.json"
        subprocess.run(["objcopy", "--dump-section", f".knap={manifest}", str(copy)], check=True)
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "drain_timeout_ms": 5000 + number}))
        subprocess.run(["objcopy", "--update-section", f".knap={manifest}", str(copy)], check=True)
        return shutil.copy(copy, place.root / "built/storm.so")

    done, message = carry_out(operator, "install", path=str(another(0)))
    assert done, message
    used = int(re.search(r"in (\d+) MiB would be there", info(place, "storm")["reason"]).group(1))
    place.processes[0].terminate()
    place.processes[0].wait(30)
    place.environment["KNAP_HOST_SWIFT_MEGABYTES"] = str(used + 1)
    place.serve()
    wait_for(lambda: state_of(place, "storm") == "active", "the start")
    operator, replaced = Connection(place), 0
    with Callers(place, "test.storm.add", count=CALLERS) as callers:
        for number in range(1, 200):
            generation = info(place, "storm")["generation"]
            carry_out(operator, "install", path=str(another(number)))
            callers.wait_for_more(CALLERS)
            shown = info(place, "storm")
            if shown["generation"] == generation or "isolate storm worker" in shown["reason"]:
                break
            replaced += 1
    assert replaced >= 10 and "isolate storm worker" in info(place, "storm")["reason"], (replaced, info(place, "storm"))
    check(callers)


def reload(place, operator):
    done, message = carry_out(operator, "reload", name="storm")
    assert done, message


def kill(place, operator):
    os.kill(int(operator.call("test.storm.pid")["result"]), signal.SIGKILL)
    # It is back when it answers, and the call that it took with it is run again.
    assert operator.call("test.storm.echo", "back")["result"] == "back"


@pytest.mark.parametrize("what, count", [(reload, 500), (kill, 200)], ids=["reloads", "kills"])
def test_the_host_holds_no_more_after_many_processes(place, what, count):
    place.serve()
    place.wait_until_indexed()
    operator = begin(place, plugins.build(place.root / "built", "storm"), "worker")
    host = place.host_pid()
    # Until the allocator has all that it keeps: arenas for threads that come and go, and what lies between their pieces.
    for _ in range(400):
        what(place, operator)
    before = Footprint(host)
    for _ in range(count * SCALE):
        what(place, operator)
    # Threads without work end by themselves after a while.
    wait_for(lambda: Footprint(host).descriptors <= before.descriptors and Footprint(host).threads <= before.threads + 4,
             f"the return to {before}: now {Footprint(host)}")
    after = Footprint(host)
    print(f"{count * SCALE} {what.__name__}s: before {before}; after {after}")
    assert after.kilobytes - before.kilobytes < 2048 + count * SCALE, (before, after)
