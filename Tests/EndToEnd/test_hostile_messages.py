"""Messages that are broken, deep, wide or long, over both transports: each is answered, and the next is served."""

import json
import select

import pytest

from knap_host import Place, wait_for
from wire import PING, Pipes, Wire, call, chatter, lasting, legacy, modern, ping, request, routed

PONG = {"jsonrpc": "2.0", "id": 1, "result": {}}
VALUES = 1_000_000


@pytest.fixture(scope="module")
def place():
    made = Place()
    made.endpoint = made.serve()
    chatter(made)
    yield made
    made.close()


def over_stdio(place, message):
    answer, pong = Pipes(place).all(message + b"\n" + PING.replace(b'"id": 1', b'"id": "next"'))
    if answer.get("id") == "next":
        answer, pong = pong, answer
    assert pong == {**PONG, "id": "next"}
    return answer


def over_http(place, message):
    with Wire(place.endpoint) as wire:
        answer = wire.ask(routed(message))
        assert wire.ask(request(PING)).message == PONG
        assert answer.status in (200, 400, 404), answer
        return answer.message


TRANSPORTS = pytest.mark.parametrize("ask", [over_stdio, over_http])

# What is wrong, and the id that is to be read nevertheless.
BROKEN = {
    "no JSON": (b"hello", None),
    "a zero byte": (b'{"jsonrpc":"2.0","id":5,"method":"ping"\0}', 5),
    "a zero byte in a text": (b'{"jsonrpc":"2.0","id":5,"method":"pi\0ng"}', 5),
    "a text that is not UTF-8": (b'{"jsonrpc":"2.0","id":5,"method":"\xff\xfe"}', 5),
    "a text in too many bytes": (b'{"jsonrpc":"2.0","id":5,"method":"\xc0\x80"}', 5),
    "a surrogate in UTF-8": (b'{"jsonrpc":"2.0","id":5,"method":"\xed\xa0\x80"}', 5),
    "an id that is not UTF-8": (b'{"jsonrpc":"2.0","id":"\xff","method":"ping"}', None),
    "half a pair of surrogates": (rb'{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"\ud800"}}', 5),
    "the other half": (rb'{"jsonrpc":"2.0","method":"ping","params":{"a":"\udc00x"},"id":"x"}', "x"),
    "half a pair in the id": (rb'{"jsonrpc":"2.0","id":"\ud800","method":"ping"}', None),
    "an end within a text": (b'{"jsonrpc":"2.0","id":5,"method":"pi', 5),
    "an end within a name": (b'{"jsonrpc":"2.0","id":5,"meth', None),
    "two messages in one line": (PING.replace(b" 1,", b" 5,") + PING, 5),
    "two ids in what is broken": (b'{"id":5,"id":6,"method":"ping",}', None),
    "an id that is not its own": (b'{"method":"ping","params":{"id":7},', None),
    "100,000 brackets": (b"[" * 100_000, None),
    "100,000 brackets within": (b'{"jsonrpc":"2.0","id":5,"method":"ping","params":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}", 5),
    "100,000 objects within": (b'{"jsonrpc":"2.0","id":5,"method":"ping","params":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001, 5),
    "a million brackets that close": (b"]" * 1_000_000, None),
    "a number that is none": (b'{"jsonrpc":"2.0","id":5,"method":"ping","params":{"a":1.e5}}', 5),
    "too many values": (b'{"jsonrpc":"2.0","id":5,"method":"ping","params":{"a":[' + b"0," * 1_000_000 + b"0]}}", 5),
    "another encoding": (PING.decode().encode("utf-16-le").replace(b"\n", b""), None),
}



@TRANSPORTS
@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_answered_with_its_id_where_that_is_readable(place, ask, what):
    sent, number = BROKEN[what]
    if ask is over_stdio and b"\n" in sent:
        pytest.skip("two lines")
    answer = ask(place, sent)
    assert answer["error"]["code"] == -32700 and answer["id"] == number, answer
    assert len(answer["error"]["message"]) < 300


def nested(depth, inner=1):
    return json.loads("[" * depth + json.dumps(inner) + "]" * depth)


MANY = [f"a:{number}" for number in range(100_000)]
# What is served, or the code of the error.
HOSTILE = {
    "deep arguments": (call("echo", it=nested(500)), None),
    "deep metadata": (legacy("ping", _meta={"a": nested(500)}), None),
    "deep capabilities": (legacy("initialize", capabilities={"experimental": {"a": nested(500)}}), None),
    "wide arguments": (call("echo", **{f"a{number}": number for number in range(200_000)}), None),
    "wide metadata": (legacy("ping", _meta={f"a{number}": number for number in range(200_000)}), None),
    "wide capabilities": (legacy("initialize", capabilities={f"a{number}": {} for number in range(200_000)}), None),
    "the same name 200,000 times": (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{' + b'"a":{},' * 200_000 + b'"b":1}}', None),
    "the most values": (legacy("ping", a=[0] * (VALUES - 6)), None),
    "16 MiB of a text": (call("echo", it="x" * (16 << 20)), None),
    "16 MiB of escapes": (call("echo", it="\n" * (8 << 20)), None),
    "16 MiB of digits": (legacy("ping", a=0).replace(b'"a": 0', b'"a": ' + b"7" * (16 << 20)), None),
    "an id of a megabyte": (legacy("ping", "x" * 1_000_000), None),
    "an id of 4,000 digits": (legacy("ping", 0).replace(b'"id": 0', b'"id": ' + b"7" * 4_000), None),
    "a method of a megabyte": (legacy("x" * 1_000_000), -32601),
    "a token of a megabyte": (call("echo", progress="x" * 1_000_000), None),
    "a cursor of a megabyte": (legacy("resources/list", cursor="9" * 1_000_000), -32602),
    "an address of 16 MiB": (legacy("resources/read", uri="vault:///" + "a/" * (8 << 20)), -32602),
    "an address that nobody serves": (legacy("resources/read", uri="%" * 1_000_000), -32002),
    "combining letters without end": (legacy("resources/read", uri="a" + "\u0301" * 500_000), -32002),
    "100,000 addresses to hear of": (modern("subscriptions/listen", notifications={"resourceSubscriptions": MANY}), -32602),
    "few addresses that are long": (
        modern("subscriptions/listen", notifications={"resourceSubscriptions": ["x" * 40_000, "y" * 40_000]}), -32602),
    "a filter that is none": (modern("subscriptions/listen", notifications=MANY), -32602),
    "answers to nothing that was asked": (
        modern("tools/call", name="echo", arguments={}, inputResponses={f"a{n}": {} for n in range(100_000)}), None),
    "a state that was never given": (modern("tools/call", name="echo", arguments={}, requestState="x" * 1_000_000), None),
    "parameters that are none": (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', -32602),
    "a batch": (b"[" + PING + b"]", -32600),
    "a text": (b'"ping"', -32600),
    "an id that is none": (legacy("ping", 0).replace(b'"id": 0', b'"id": {"a":[1]}'), -32600),
    "a number for a version": (modern("ping").replace(b'"2026-07-28"', b"2026"), -32602),
}


@TRANSPORTS
@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_deep_wide_or_long_is_served_or_refused_and_the_next_is_served(place, ask, what):
    sent, code = HOSTILE[what]
    answer = ask(place, sent)
    if code is None:
        assert "result" in answer or answer["error"]["code"] == -32602, json.dumps(answer)[:500]
    else:
        assert answer["error"]["code"] == code, json.dumps(answer)[:500]


def test_large_bodies_at_once_take_no_more_memory_than_there_is_for_them(place):
    """Together they would take gigabytes as JSON; those that find no room are told to try again."""
    body = modern("tools/call", name="wait", arguments={"a": [{"": 0}] * (VALUES // 2 - 20)})
    wires = [Wire(place.endpoint).send(routed(body)) for _ in range(12)]

    def refused():
        return select.select([wire.socket for wire in wires], [], [], 0)[0]

    wait_for(lambda: (lasting(place) or -99) + len(refused()) == len(wires), "an answer to each that finds no room")
    assert 1 <= lasting(place) <= 4
    for wire in wires:
        if wire.socket in refused():
            answer = wire.response()
            assert answer.status == 503 and answer.fields["retry-after"] == "1", answer
            # It goes on with its connection.
            assert wire.ask(request(PING)).status == 200
    for wire in wires:
        wire.close()
    wait_for(lambda: lasting(place) == 0, "the end of the calls")
    with Wire(place.endpoint) as wire:
        wire.send(routed(body))
        wait_for(lambda: lasting(place) == 1, "room for it")
    wait_for(lambda: lasting(place) == 0, "its end")
    ping(place.endpoint)
