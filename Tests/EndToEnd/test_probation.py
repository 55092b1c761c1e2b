"""Upgrades that have to prove themselves, and the way back from those that do not."""

import json

import pytest

import plugins
from knap_host import wait_for
from test_live_changes import command
from test_workers import attempt, info, reasons, state_of


@pytest.fixture
def served(place):
    place.serve()
    return place


def build(place, version, schema=0, defines=(), name="ledger", probation=600_000, **options):
    return plugins.build(
        place.root / "built", name, version=version, source="ledger.c", defines=[f"SCHEMA={schema}", *defines],
        **{"state_schema": schema, "probation_ms": probation, "extensions": ["knap.committed/1", "knap.health/1"], **options})


def begin(place, isolation="worker", **options):
    plugins.drop(place, build(place, "1.0.0", **options))
    wait_for(lambda: state_of(place, "ledger") == "active", "the start")
    if isolation != "worker":
        assert command(place, "plugins", "isolate", "ledger", isolation).returncode == 0
    add(place, "one")


def upgrade(place, version="2.0.0", **options):
    plugins.drop(place, build(place, version, **options))
    wait_for(lambda: info(place, "ledger")["version"] == version, f"version {version}")


def add(place, line):
    result = place.knap("call", "test.ledger.add", json.dumps(line), "--state", str(place.state), "--json")
    assert result.returncode == 0, result.stderr


def lines(place):
    return place.call("test.ledger.lines")


def returned(place, version="1.0.0"):
    return wait_for(
        lambda: (shown := info(place, "ledger"))["version"] == version and shown["state"] == "active" and shown,
        f"the return to {version}")


def restart(place):
    place.processes[-1].terminate()
    place.processes[-1].wait(20)
    place.serve()


def history(place):
    return json.loads(command(place, "history", "--json").stdout)["history"]


FAILURES = {
    "it crashes": lambda place: attempt(place, "test.ledger.crash"),
    "its breaker opens": lambda place: [attempt(place, "test.ledger.break_down") for _ in range(3)],
    "it is unhealthy": lambda place: attempt(place, "test.ledger.ail"),
}
BREAKER = {"limits": {"breaker": {"failures": 3, "period_ms": 60000, "open_ms": 600}}}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_version_that_fails_on_probation_is_replaced_by_the_one_before(served, failure):
    begin(served)
    upgrade(served, **BREAKER)
    add(served, "two")
    FAILURES[failure](served)
    shown = returned(served)
    # The old code runs on the durable state, in which nothing that was answered is missing.
    assert lines(served) == "0:one;two;"
    assert "returned to 1.0.0" in shown["reason"], shown["reason"]
    assert [each["change"] for each in history(served)][-1] == "rollback"
    # It is not tried again, not even by another host, until it is released.
    restart(served)
    assert returned(served)["version"] == "1.0.0"
    assert command(served, "plugins", "release", "ledger").returncode == 0
    assert returned(served, "2.0.0")


@pytest.mark.parametrize("isolation", ["worker", "in-process"])
def test_a_return_across_a_change_of_format_goes_to_the_copy_from_before(served, isolation):
    begin(served, isolation)
    upgrade(served, schema=1)
    assert lines(served) == "1:one;"
    add(served, "two")
    result = command(served, "plugins", "rollback", "ledger")
    assert result.returncode == 0, result.stderr
    assert returned(served)["version"] == "1.0.0"
    assert lines(served) == "0:one;"
    assert not list((served.state / "checkpoints").iterdir())


@pytest.mark.parametrize("fault", ["abort", "REFUSES"])
def test_a_failed_activation_leaves_the_state_as_it_was(served, fault):
    begin(served)
    broken = build(served, "2.0.0", schema=1, defines=["REFUSES"] if fault == "REFUSES" else ["ACTIVATED=abort"])
    plugins.drop(served, broken)
    wait_for(lambda: "reload failed" in info(served, "ledger")["reason"], "the refusal")
    assert lines(served) == "0:one;"
    add(served, "two")
    assert lines(served) == "0:one;two;"
    assert not list((served.state / "checkpoints").iterdir())


def test_an_upgrade_that_serves_through_its_probation_is_committed_once(served):
    begin(served)
    upgrade(served, schema=1, probation=300)
    assert "probation_ends_ms" in info(served, "ledger") or history(served)[-1]["change"] == "commit"
    wait_for(lambda: history(served)[-1]["change"] == "commit", "the commit")
    assert "probation_ends_ms" not in info(served, "ledger")
    # Each version was told: the first at its start, the second at the end of its probation.
    assert (served.state / "data/ledger/committed").read_text() == "1.0.0;2.0.0;"
    assert not list((served.state / "checkpoints").iterdir())
    # The copy is gone, so the way back is closed.
    refused = command(served, "plugins", "rollback", "ledger")
    assert refused.returncode != 0 and "state_schema" in refused.stderr, refused.stderr
    assert lines(served) == "1:one;"


def test_a_committed_upgrade_of_the_same_format_can_be_rolled_back_by_a_later_host(served):
    begin(served)
    upgrade(served, probation=0)
    wait_for(lambda: history(served), "the entry of the upgrade")
    assert history(served)[-1]["change"] == "replace" and "probation_ends_ms" not in info(served, "ledger")
    add(served, "two")
    restart(served)
    assert returned(served, "2.0.0")
    result = command(served, "plugins", "rollback", "ledger")
    assert result.returncode == 0, result.stderr
    assert returned(served)["version"] == "1.0.0" and lines(served) == "0:one;two;"
    restart(served)
    assert returned(served)["version"] == "1.0.0"


def test_probation_goes_on_after_a_restart_of_the_host(served):
    begin(served)
    upgrade(served, schema=1)
    restart(served)
    assert "probation_ends_ms" in returned(served, "2.0.0")
    attempt(served, "test.ledger.crash")
    returned(served)
    assert lines(served) == "0:one;"


def test_a_file_that_was_replaced_while_no_host_ran_is_an_upgrade_too(served):
    begin(served)
    served.processes[-1].terminate()
    served.processes[-1].wait(20)
    plugins.drop(served, build(served, "2.0.0", schema=1, defines=["ACTIVATED=abort"]))
    served.serve()
    shown = returned(served)
    assert any("2.0.0 does not start" in warning for warning in shown["warnings"]), shown["warnings"]
    assert lines(served) == "0:one;"
    plugins.drop(served, build(served, "3.0.0", schema=1))
    assert returned(served, "3.0.0") and lines(served) == "1:one;"


def test_old_code_that_refuses_the_state_goes_into_quarantine_and_its_dependants_stop(served):
    begin(served)
    plugins.drop(served, plugins.build(served.root / "built", "reader", requires=[{"service": "test.ledger", "version": "*"}]))
    wait_for(lambda: state_of(served, "reader") == "active", "the dependant")
    upgrade(served)
    # Somebody else's tool moved the format on.
    (served.state / "data/ledger/format").write_text("9")
    attempt(served, "test.ledger.crash")
    wait_for(lambda: any("does not start again" in reason for reason in reasons(served, "ledger")), "the quarantine")
    wait_for(lambda: state_of(served, "reader") == "resolved", "the stop of the dependant")
    (served.state / "data/ledger/format").write_text("0")
    assert command(served, "plugins", "release", "ledger").returncode == 0
    assert returned(served, "2.0.0")


def test_what_was_upgraded_together_returns_together(served):
    begin(served)
    plugins.drop(served, build(served, "1.0.0", name="book", requires=[{"service": "test.ledger", "version": "^1.0.0"}]))
    wait_for(lambda: state_of(served, "book") == "active", "the dependant")
    folder = served.root / "new"
    for name, requires in [("ledger", []), ("book", [{"service": "test.ledger", "version": "^2.0.0"}])]:
        library = build(served, "2.0.0", name=name, requires=requires)
        folder.mkdir(exist_ok=True)
        library.rename(folder / library.name)
    result = command(served, "plugins", "upgrade", str(folder))
    assert result.returncode == 0, result.stderr
    assert info(served, "book")["version"] == info(served, "ledger")["version"] == "2.0.0"
    attempt(served, "test.book.crash")
    returned(served)
    wait_for(lambda: info(served, "book")["version"] == "1.0.0" and state_of(served, "book") == "active", "the other's return")


def test_an_older_format_is_not_taken_for_an_upgrade(served):
    begin(served, schema=1)
    plugins.drop(served, build(served, "2.0.0", schema=0))
    wait_for(lambda: any("state_schema" in each["error"] for each in history(served) if "error" in each), "the refusal")
    assert returned(served)["version"] == "1.0.0" and lines(served) == "1:one;"
