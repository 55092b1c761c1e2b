"""HTTP clients that leave early, never read, keep streams open by the thousand, or come in too great a number."""

import itertools
import json
import os
import re
import resource
import signal
import time

import pytest

import plugins
from footprint import Footprint
from knap_host import Place, wait_for
from wire import (INITIALIZE, PING, Wire, call, chatter, head, kilobytes, lasting, legacy, modern_request, ping, request)

LISTEN = dict(notifications={"toolsListChanged": True})
STREAM = head(line=b"GET /mcp HTTP/1.1")


@pytest.fixture
def place():
    """A host that may have many descriptors, as may this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    made = Place()
    made.prefix = ["prlimit", "--nofile=1024:"]
    yield made
    made.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def served(place):
    place.endpoint = place.serve()
    chatter(place)
    yield place
    ping(place.endpoint)


def test_a_client_that_has_sent_its_last_request_still_gets_the_answers(served):
    with Wire(served.endpoint) as wire:
        wire.send(request(PING) + request(call("say", 2, bytes=5_000_000))).finish()
        assert [wire.response().message["id"] for _ in range(2)] == [1, 2]
        assert wire.rest() == b""
    # Also where it takes long.
    with Wire(served.endpoint) as wire:
        wire.send(request(call("chat", 3, times=20_000))).finish()
        # It is asked whether it still listens.
        assert wire.response().status == 102
        assert b'"id":3' in wire.response().body
        assert wire.rest() == b""
    for half in [request()[:-1], head()[:-2], b"POST"]:
        with Wire(served.endpoint) as wire:
            assert wire.send(half).finish().response().status == 400
            assert wire.rest() == b""


@pytest.mark.parametrize("tool", ["wait", "chat"])
@pytest.mark.parametrize("leave", [Wire.close, Wire.reset])
def test_a_client_that_is_gone_cancels_its_modern_request(served, leave, tool):
    wires = [Wire(served.endpoint) for _ in range(8)]
    for number, wire in enumerate(wires):
        wire.send(modern_request("tools/call", number, name=tool, arguments={}, _meta={"progressToken": number}))
    wait_for(lambda: lasting(served) == len(wires), "the calls")
    for wire in wires:
        leave(wire)
    wait_for(lambda: lasting(served) == 0, "their cancellation")


def test_a_client_that_never_reads_holds_up_its_own_calls_and_costs_little(served):
    host = served.host_pid()
    before = kilobytes(host)
    wires = []
    for number in range(16):
        wire = Wire(served.endpoint)
        # 200 MB of progress and logs for each.
        wire.send(modern_request("tools/call", number, name="chat", arguments={"times": 20_000, "bytes": 10_000},
                                 _meta={"progressToken": 1}) if number % 2 else
                  request(call("chat", number, progress=1, times=20_000, bytes=10_000)))
        wires.append(wire)
    wait_for(lambda: lasting(served), "the calls")
    ping(served.endpoint)
    wait_for(lambda: lasting(served) == 0, "their end")
    assert kilobytes(host) - before < 100_000, (before, kilobytes(host))
    # Whoever reads at last finds what was kept for it, and the end.
    for wire in wires:
        assert b'done' in wire.response().body.splitlines()[-2]
        wire.close()


def test_of_what_is_sent_before_the_answer_only_some_is_kept(served):
    with Wire(served.endpoint) as wire:
        wire.send(request(call("chat", 7, times=5_000)) + b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1_000).finish()
        answers = []
        while not answers or answers[-1].status != 413:
            answers.append(wire.response())
        assert b'"id":7' in next(each for each in answers if each.status == 200).body
        assert 50 < sum(each.body == b'{"status":"ok"}' for each in answers) < 500
        assert answers[-1].closes and wire.rest() == b""


def test_an_id_may_be_used_again_once_its_request_was_cancelled(served):
    with Wire(served.endpoint) as wire:
        session = b"Mcp-Session-Id: " + wire.ask(request(INITIALIZE)).fields["mcp-session-id"].encode() + b"\r\n"
        cancel = json.dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}}).encode()
        for _ in range(3):
            with Wire(served.endpoint) as first, Wire(served.endpoint) as second:
                first.send(request(call("wait", 5), session))
                wait_for(lambda: lasting(served) == 1, "the call")
                assert wire.ask(request(cancel, session)).status == 202
                second.send(request(call("wait", 5), session))
                assert first.response().status == 202
                wait_for(lambda: lasting(served) == 1, "the second call")
                # The end of the first is not that of the second, which can still be cancelled.
                assert wire.ask(request(call("wait", 5), session)).status == 400
                assert wire.ask(request(cancel, session)).status == 202
                assert second.response().status == 202
                wait_for(lambda: lasting(served) == 0, "the end of both")


def open_streams(served, count):
    wires = []
    for number in range(count):
        wires.append(Wire(served.endpoint).send(
            STREAM if number % 2 else modern_request("subscriptions/listen", number, **LISTEN)))
    for number, wire in enumerate(wires):
        status, _, fields = wire.head()
        assert status == 200 and fields["content-type"] == "text/event-stream"
        if number % 2 == 0:
            assert wire.event()["method"] == "notifications/subscriptions/acknowledged"
    return wires


@pytest.mark.storms
def test_thousands_of_idle_streams_cost_little_hear_of_changes_and_leave_nothing(served):
    host, count = served.host_pid(), 3000
    before = Footprint(host)
    wires = open_streams(served, count)
    during = Footprint(host)
    # One of those that asked whether the host is up may still have been open before.
    assert during.descriptors >= before.descriptors + count - 20
    assert during.kilobytes - before.kilobytes < count * 20, (before, during)
    ping(served.endpoint)
    tool = {"kind": "tool", "name": "more", "description": "More.", "method": "test.more.echo"}
    plugins.drop(served, plugins.build(served.root / "built", "more", contributes={"mcp": [tool]}))
    for wire in wires:
        assert wire.event()["method"] == "notifications/tools/list_changed"
    for wire in wires:
        wire.close()
    wait_for(lambda: Footprint(host).descriptors < before.descriptors + 20, "the end of the streams")


def test_the_host_takes_the_descriptors_that_it_may_have(place):
    place.serve()
    limits = open(f"/proc/{place.host_pid()}/limits").read()
    soft, hard = re.search(r"Max open files +(\d+) +(\d+)", limits).groups()
    assert int(soft) == min(int(hard), 65536)


def test_too_many_connections_are_told_to_come_later_and_the_rest_of_the_host_is_not_touched(place):
    place.prefix = ["prlimit", "--nofile=256:256"]
    place.endpoint = place.serve()
    room = 256 // 4 * 3
    wires = [Wire(place.endpoint) for _ in range(room)]
    for wire in wires:
        assert wire.ask(request()).status == 200
    for _ in range(20):
        with Wire(place.endpoint) as turned_away:
            answer = turned_away.response()
            assert answer.status == 503 and answer.closes and "connections" in answer.body.decode(), answer
    assert len(place.call("vault.list_notes")["notes"]) > 0
    assert wires[0].ask(request()).status == 200
    wires.pop().close()

    def is_served():
        with Wire(place.endpoint) as wire:
            return wire.ask(request()).status == 200

    wait_for(is_served, "room for one more")
    for wire in wires:
        wire.close()


@pytest.mark.storms
def test_without_descriptors_accepting_rests_and_goes_on_when_there_are_some(served):
    host = served.host_pid()

    def ticks():
        return sum(map(int, open(f"/proc/{host}/stat").read().rsplit(") ", 1)[1].split()[11:13]))

    kept = Wire(served.endpoint)
    assert kept.ask(request()).status == 200
    resource.prlimit(host, resource.RLIMIT_NOFILE, (Footprint(host).descriptors + 20, resource.prlimit(host, resource.RLIMIT_NOFILE)[1]))
    wires = [Wire(served.endpoint) for _ in range(100)]
    began = ticks()
    time.sleep(3)
    spent = (ticks() - began) / os.sysconf("SC_CLK_TCK")
    assert spent < 1, f"{spent} s of work in 3 s"
    assert kept.ask(request()).status == 200
    for wire in wires:
        wire.close()
    kept.close()
    wait_for(lambda: Footprint(host).descriptors < 100, "the end of the connections")
    ping(served.endpoint)


def test_sessions_take_little_however_much_their_clients_say_of_themselves(served):
    host = served.host_pid()
    hello = json.loads(INITIALIZE)
    hello["params"]["clientInfo"]["icons"] = [{"src": "data:," + "x" * 100_000}]
    hello["params"]["capabilities"] = {"sampling": {}, "experimental": {"x" * 100_000: {}}}
    sent = request(json.dumps(hello).encode())

    def begin(wire, count):
        for _ in range(count):
            answer = wire.ask(sent)
            assert answer.status == 200 and len(answer.fields["mcp-session-id"]) < 1000, answer
        return answer.fields["mcp-session-id"].encode()

    with Wire(served.endpoint) as wire:
        first = begin(wire, 200)
        before = kilobytes(host)
        begin(wire, 1500)
        assert kilobytes(host) - before < 30_000, (before, kilobytes(host))
        assert wire.ask(request(legacy("ping", 9), b"Mcp-Session-Id: " + first + b"\r\n")).message["id"] == 9
        # Addresses to hear of are counted by their bytes too.
        errors = [wire.ask(request(legacy("resources/subscribe", number, uri=f"a:{number}" + "x" * 5000),
                                   b"Mcp-Session-Id: " + first + b"\r\n")).message.get("error") for number in range(20)]
        assert errors[:12] == [None] * 12 and "bytes" in errors[-1]["message"], errors


def test_connections_and_ended_sessions_leave_nothing(served):
    host = served.host_pid()

    def come_and_go(count):
        for number in range(count):
            with Wire(served.endpoint) as wire:
                assert wire.ask(request()).status == 200
            if number % 10 == 0:
                with Wire(served.endpoint) as wire, Wire(served.endpoint) as stream:
                    session = b"Mcp-Session-Id: " + wire.ask(request(INITIALIZE)).fields["mcp-session-id"].encode() + b"\r\n"
                    assert stream.send(head(session, line=b"GET /mcp HTTP/1.1")).head()[0] == 200
                    assert wire.ask(head(session, line=b"DELETE /mcp HTTP/1.1")).status == 204
                    # The stream ends with its session.
                    while stream.chunk():
                        pass

    come_and_go(1000)
    before = kilobytes(host)
    come_and_go(4000)
    assert kilobytes(host) - before < 2_000, (before, kilobytes(host))


@pytest.mark.storms
@pytest.mark.timeout(300)
def test_a_flood_of_sessions_is_bounded_and_the_first_client_goes_on(served):
    host = served.host_pid()
    with Wire(served.endpoint) as wire:
        first = b"Mcp-Session-Id: " + wire.ask(request(INITIALIZE)).fields["mcp-session-id"].encode() + b"\r\n"
        sizes = []
        for _ in range(4):
            for _ in range(10_000):
                assert wire.ask(request(INITIALIZE)).status == 200
            sizes.append(kilobytes(host))
        assert sizes[-1] - sizes[0] < 10_000, sizes
        assert wire.ask(request(legacy("ping", 9), first)).message == {"jsonrpc": "2.0", "id": 9, "result": {}}


def test_what_is_kept_for_clients_that_may_come_back_is_bounded(served):
    host = served.host_pid()
    with Wire(served.endpoint) as wire:
        session = b"Mcp-Session-Id: " + wire.ask(request(INITIALIZE)).fields["mcp-session-id"].encode() + b"\r\n"

        numbers = itertools.count(1)

        def ask(progress):
            number = next(numbers)
            answer = wire.ask(request(call("say" if progress is None else "chat", number, progress=progress,
                                           bytes=2_000_000, times=6), session))
            assert answer.status == 200 and f'"id":{number}'.encode() in answer.body, answer

        for _ in range(10):
            ask(progress=None)
            ask(progress=1)
        before = kilobytes(host)
        # As answers, to which nobody can come back, and as events, of which the last are kept.
        for _ in range(60):
            ask(progress=None)
            ask(progress=1)
        assert kilobytes(host) - before < 150_000, (before, kilobytes(host))


def test_strange_sessions_events_and_ids_change_nothing(served):
    with Wire(served.endpoint) as wire:
        session = wire.ask(request(INITIALIZE)).fields["mcp-session-id"].encode()
        own = b"Mcp-Session-Id: " + session + b"\r\n"
        for strange in [b"x", b"x" * 70_000, session + b"x", session[:-1], b"a.b", b".", b"\xff\xfe", b""]:
            answer = wire.ask(request(PING, b"Mcp-Session-Id: " + strange + b"\r\n"))
            assert answer.status == 404 and answer.message["id"] == 1, (strange[:50], answer)
        for strange in [b"0", b"-", b"99-1", b"99999999999999999999-1", b"1--1", b"x" * 70_000, b"\xff", b"1-1-1"]:
            answer = wire.ask(head(own, b"Last-Event-ID: " + strange + b"\r\n", line=b"GET /mcp HTTP/1.1"))
            assert answer.status == 400, (strange[:50], answer)
        for body in [legacy("ping", "x" * 1_000_000), legacy("ping", 10 ** 400)]:
            assert wire.ask(request(body, own)).message["id"] == json.loads(body)["id"]
        for message in [{"method": "notifications/cancelled", "params": {"requestId": "nobody"}},
                        {"method": "notifications/cancelled", "params": {"requestId": {}}}, {"method": "notifications/cancelled"},
                        {"method": "nothing", "params": [1]}, {"id": "knap-nobody-asked", "result": {}}, {"id": 7, "result": 1},
                        {"id": 7, "error": {}}, {"id": 7, "error": {"code": 1e400, "message": []}}, {"result": {}}]:
            answer = wire.ask(request(json.dumps({"jsonrpc": "2.0", **message}).encode().replace(b"Infinity", b"1e400"), own))
            assert answer.status == 202, (message, answer)
        assert wire.ask(request(PING, own)).status == 200


def stop(place):
    os.kill(place.host_pid(), signal.SIGTERM)
    return place.processes[0]


def test_a_host_that_is_told_to_stop_answers_what_is_under_way_and_ends_its_streams(served):
    wires = open_streams(served, 200)
    idle = [Wire(served.endpoint) for _ in range(20)]
    for wire in idle[:10]:
        assert wire.ask(request()).status == 200
    busy = [Wire(served.endpoint).send(request(call("chat", number, times=5_000))) for number in range(8)]
    busy += [Wire(served.endpoint).send(modern_request("tools/call", number, name="chat", arguments={"times": 5_000}))
             for number in range(8, 16)]
    wait_for(lambda: lasting(served), "the calls")
    process = stop(served)
    for number, wire in enumerate(busy):
        assert f'"id":{number}'.encode() in (answer := wire.response()).body and b"done" in answer.body, answer
    for number, wire in enumerate(wires):
        messages = [json.loads(line[6:]) for chunk in iter(wire.chunk, b"") for line in chunk.splitlines() if line.startswith(b"data: ")]
        # A subscription has a result, which says that nobody will tell more.
        assert [message["id"] for message in messages if "result" in message] == ([number] if number % 2 == 0 else [])
        assert wire.rest() == b""
    for wire in idle:
        assert wire.rest() == b""
    assert process.wait(30) == 0
    served.endpoint = served.serve()


@pytest.mark.storms
def test_a_client_that_never_reads_does_not_keep_a_host_from_stopping(served):
    wires = [Wire(served.endpoint).send(request(call("say", number, bytes=20_000_000))) for number in range(8)]
    wires += [Wire(served.endpoint).send(request(call("chat", number, progress=1, bytes=100_000))) for number in range(8)]
    wires.append(Wire(served.endpoint).send(head(b"Content-Length: 100\r\n") + b"never all of it"))
    wait_for(lambda: lasting(served), "the calls")
    process = stop(served)
    assert process.wait(60) == 0
    for wire in wires:
        wire.close()
    served.endpoint = served.serve()
