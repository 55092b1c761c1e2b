"""One ABI on both sides: what a plugin gets of its host, and how it talks with another, in the host's process and out of it."""

import json
import socket
import threading

import pytest

import plugins
from knap_host import Place, wait_for
from test_workers import info, state_of

ISOLATIONS = ["worker", "in-process"]


def start(place, isolation, name, **options):
    plugins.drop(place, plugins.build(place.root / "built", name, **options))
    wait_for(lambda: state_of(place, name) != "unknown", f"the arrival of {name}")
    for command in [("grant", name), ("isolate", name, isolation)]:
        result = place.knap("plugins", *command, "--state", str(place.state))
        assert result.returncode == 0, result.stderr
    wait_for(lambda: state_of(place, name) == "active", f"the start of {name}")
    assert info(place, name)["isolation"] == isolation


@pytest.fixture(scope="module")
def echo_server():
    """Answers what it hears, once a connection, on any free port of this machine."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.sendall(connection.recv(64)[::-1])

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.close()


@pytest.fixture(scope="module", params=ISOLATIONS)
def extended(request, echo_server, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "host.log"
    place = Place()
    place.log = log
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KNAP_TEST_LOG", str(log))
        place.serve()
    start(place, request.param, "extensions", source="extensions.c",
          permissions={"network": {"connect": [f"localhost:{echo_server}", "localhost:1", "no-such-host.invalid:80"]}},
          configuration={"schema": {"type": "object", "properties": {"colour": {"type": "string"}}},
                         "defaults": {"colour": "green"}})
    yield place
    place.close()


def call(place, method, text=""):
    result = place.knap("call", f"test.{method}", json.dumps(text), "--state", str(place.state), "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_the_configuration_is_the_defaults_and_what_the_operator_set(extended):
    assert call(extended, "extensions.configuration") == {"colour": "green"}
    result = extended.knap("config", "set", "extensions.colour", "blue", "--state", str(extended.state))
    assert result.returncode == 0, result.stderr
    wait_for(lambda: call(extended, "extensions.configuration") == {"colour": "blue"}, "the reload with the setting")


def test_the_state_directory_is_the_plugins_own_and_outlives_a_reload(extended):
    first = call(extended, "extensions.remember", "one")
    extended.knap("plugins", "reload", "extensions", "--state", str(extended.state))
    assert call(extended, "extensions.remember", "two") == first + 3
    assert (extended.state / "data/extensions/memory").read_text().endswith("onetwo")


def test_log_records_have_the_plugin_and_its_fields(extended):
    assert call(extended, "extensions.note", "a strange sight") == 1
    record = wait_for(lambda: [line for line in extended.log.read_text().splitlines() if "a strange sight" in line], "the record")
    assert "plugin=extensions" in record[0] and "colour=green" in record[0] and "warning" in record[0]


def test_timers_fire_once_and_stop(extended):
    assert call(extended, "extensions.timer") == "fired"
    assert call(extended, "extensions.stopped_timer") == [0, 5]  # OK, then NOT_FOUND


def test_a_kept_descriptor_outlives_a_reload(extended):
    assert call(extended, "extensions.take") == 5
    assert call(extended, "extensions.keep", "still there") == 0
    extended.knap("plugins", "reload", "extensions", "--state", str(extended.state))
    assert call(extended, "extensions.take") == ["still there", True]
    assert [call(extended, "extensions.drop"), call(extended, "extensions.drop"), call(extended, "extensions.take")] == [0, 5, 5]


def test_hosts_are_reached_by_name_where_that_was_granted(extended, echo_server):
    assert call(extended, "extensions.reach", f"localhost {echo_server}") == "gnip"
    assert call(extended, "extensions.reach", f"127.0.0.1 {echo_server}") == 7  # PERMISSION_DENIED: another name
    assert call(extended, "extensions.reach", f"localhost {echo_server + 1}") == 7
    status, message = call(extended, "extensions.reach", "localhost 1")
    assert status == 14 and "localhost:1 cannot be reached" in message
    status, message = call(extended, "extensions.reach", "no-such-host.invalid 80")
    assert status == 14 and "no-such-host.invalid" in message


def test_the_registry_shows_contributions_and_tells_of_changes(extended):
    tools = call(extended, "extensions.contributions", "mcp")
    assert any(each["plugin"] == "obsidian" for each in tools["contributions"])
    assert call(extended, "extensions.watch", "mcp") == 0
    before = call(extended, "extensions.changes")
    extended.knap("plugins", "disable", "obsidian", "--state", str(extended.state))
    wait_for(lambda: call(extended, "extensions.changes") > before, "the watch's call")
    assert not any(each["plugin"] == "obsidian" for each in call(extended, "extensions.contributions", "mcp")["contributions"])
    extended.knap("plugins", "enable", "obsidian", "--state", str(extended.state))


def test_what_a_plugin_offers_while_it_runs_can_be_checked_as_what_its_manifest_offers_is(extended):
    tool = {"kind": "tool", "name": "one", "method": "a.b"}
    items = [tool, {**tool, "title": 1}, {**tool, "kind": "strange"}, {"kind": "feed"}, {**tool, "unknown": True}]
    problems = extended.call("host.check_contributions", point="mcp", items=items)["problems"]
    assert problems[0] is None and len(problems) == 5 and all(problems[1:]), problems
    assert extended.call("host.check_contributions", point="nobody.has.it", items=[tool])["problems"] == [None]


def test_services_are_described_and_bound_only_where_granted(extended):
    described = call(extended, "extensions.services", "test.extensions")
    assert described[0]["plugin"] == "extensions"
    assert call(extended, "extensions.bind", "vault.list") == 7
    assert call(extended, "extensions.bind", "host.reload") == 7
    assert call(extended, "extensions.unknown") is None


@pytest.fixture(scope="module", params=[(one, other) for one in ISOLATIONS for other in ISOLATIONS], ids="-to-".join)
def twins(request):
    place = Place()
    place.serve()
    for name, other, isolation in [("right", "left", request.param[1]), ("left", "right", request.param[0])]:
        start(place, isolation, name, source="conversations.c", deadline_ms=60_000, defines=[f'OTHER="test.{other}"'],
              permissions={"services": [f"test.{other}"]})
    yield place
    place.close()


def test_a_call_carries_on_for_whom_it_is_made(twins):
    asked = call(twins, "left.about")
    assert asked["method"] == "test.left.about" and asked["has_deadline"]
    assert call(twins, "left.relay") == {
        "principal": asked["principal"], "caller": "left", "method": "test.right.about", "has_deadline": True}
    # On its own it is nobody else.
    assert call(twins, "left.relay_alone")["principal"] == "plugin:left"


def test_parents_and_principals_cannot_be_made_up(twins):
    assert call(twins, "left.wrong_parent") == {"refused": 3}  # INVALID_ARGUMENT
    assert call(twins, "left.forged") == {"refused": 7}  # PERMISSION_DENIED


def test_items_go_both_ways_in_order_under_credit(twins):
    assert call(twins, "left.speak_and_hear") == {"status": 0, "answer": 1000, "received": 1000, "ordered": True}


def test_a_callee_asks_its_caller_and_reports_progress(twins):
    assert call(twins, "left.reply") == {"status": 0, "answer": "green", "progress": 1, "sent": 0}


def test_deadlines_and_cancellation_reach_the_callee(twins):
    assert call(twins, "left.too_late") == {"status": 4}
    wait_for(lambda: call(twins, "right.cancelled") == 4, "the callee's cancellation")
    assert call(twins, "left.give_up") == {"status": 1}
    wait_for(lambda: call(twins, "right.cancelled") == 1, "the callee's cancellation")


def test_a_body_of_eight_megabytes_comes_back_whole(twins):
    answer = call(twins, "left.large")
    assert len(answer) == (8 << 20) - 2 and set(answer) == {"x"}
