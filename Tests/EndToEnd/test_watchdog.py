"""Methods that do not return in their time: counted, named, and ended where that is possible."""

import threading

import pytest

import plugins
from knap_host import wait_for
from test_black_box import doctor, in_the_host
from test_workers import attempt, info, state_of


def held(place, name, method):
    rows = {row["method"]: row for row in info(place, name).get("held", [])}
    return rows.get(f"test.{name}.{method}", {})


@pytest.mark.parametrize("isolation", ["in-process", "worker"])
def test_a_method_that_holds_its_thread_is_counted_and_warned_of(place, tmp_path, monkeypatch, isolation):
    log = tmp_path / "log"
    monkeypatch.setenv("KNAP_TEST_LOG", str(log))
    place.serve()
    if isolation == "worker":
        plugins.drop(place, plugins.build(place.root / "built", "idler"))
        wait_for(lambda: state_of(place, "idler") == "active", "the start")
    else:
        assert in_the_host(place, "idler").returncode == 0
    for _ in range(5):
        place.call("test.idler.dawdle")
        assert place.call("test.idler.echo", text="quick") == {"text": "quick"}
    row = wait_for(lambda: held(place, "idler", "dawdle").get("longest_ms") and held(place, "idler", "dawdle"), "the count")
    assert row["times"] >= 1 and row["hangs"] == 0
    assert held(place, "idler", "echo") == {}
    assert state_of(place, "idler") == "active"
    # Said once, not five times.
    lines = [line for line in log.read_text().splitlines() if "held a thread" in line and "test.idler.dawdle" in line]
    assert len(lines) == 1, lines


@pytest.fixture
def watched(place):
    place.environment["KNAP_HOST_WATCHDOG_MS"] = "500"
    place.serve()
    return place


def test_a_hang_in_the_hosts_process_is_reported_until_it_ends(watched):
    assert in_the_host(watched, "stuck").returncode == 0
    caller = threading.Thread(target=attempt, args=(watched, "test.stuck.linger"))
    caller.start()
    wait_for(lambda: held(watched, "stuck", "linger").get("hanging_ms"), "the report")
    assert any(subject == "stuck" and "test.stuck.linger has not returned for" in problem for subject, problem in doctor(watched))
    assert held(watched, "stuck", "linger")["hangs"] == 1
    (watched.state / "data/stuck/go").touch()
    caller.join()

    def is_over():
        watched.call("test.stuck.echo", text="well")
        return "hanging_ms" not in held(watched, "stuck", "linger")
    wait_for(is_over, "the end of the report")


@pytest.mark.parametrize("method", ["hang", "spin"])
def test_a_hang_ends_a_worker_and_is_named(watched, method):
    plugins.drop(watched, plugins.build(watched.root / "built", "stuck", deadline_ms=300))
    wait_for(lambda: state_of(watched, "stuck") == "active", "the start")
    before = info(watched, "stuck")["process"]
    assert attempt(watched, f"test.stuck.{method}").returncode != 0
    shown = wait_for(lambda: "last_end" in (now := info(watched, "stuck")) and now["state"] == "active" and now, "the restart")
    assert shown["process"] != before
    assert f"it hung: test.stuck.{method} had not returned after" in shown["last_end"], shown["last_end"]
    assert held(watched, "stuck", method)["hangs"] == 1
    assert watched.call("test.stuck.echo", text="back") == {"text": "back"}
