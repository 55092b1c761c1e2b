"""Where one HTTP request ends and the next begins is never in doubt, whoever sends what."""

import pytest

from knap_host import Place
from wire import CHUNKED, HOST, JSON, PING, Wire, call, chatter, chunks, head, legacy, modern_request, ping, request


@pytest.fixture(scope="module")
def place():
    made = Place()
    made.endpoint = made.serve()
    chatter(made)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def serves_on(place):
    """After whatever a test did."""
    yield
    ping(place.endpoint)


GOOD = {
    "a length": request(),
    "chunks": head(CHUNKED) + chunks(PING, 7),
    "chunks of one byte": head(CHUNKED) + chunks(PING, 1),
    "a trailer": head(CHUNKED) + chunks(PING, 7)[:-2] + b"X-Sum: 1\r\n\r\n",
    "extensions of chunks": head(CHUNKED) + b"%x;a=b;c=\"d\"\r\n%s\r\n0;e\r\n\r\n" % (len(PING), PING),
    "upper case": head(b"TRANSFER-ENCODING: Chunked\r\n") + chunks(PING, 100),
    "zeros before a chunk's size": head(CHUNKED) + b"000%x\r\n%s\r\n0\r\n\r\n" % (len(PING), PING),
    "an empty line before": b"\r\n" + request(),
    "a whole address": request(line=b"POST http://localhost/mcp HTTP/1.1"),
    "a whole address in other letters": request(line=b"POST HTTP://LocalHost/mcp HTTP/1.1"),
    "a query": request(line=b"POST /mcp?a=b&c HTTP/1.1"),
    "a long address": request(line=b"POST /mcp?" + b"a" * 60_000 + b" HTTP/1.1"),
    "many fields": request(PING, *(b"X-%d: a\r\n" % number for number in range(900))),
    "a large field": request(PING, b"X-A: " + b"a" * 70_000 + b"\r\n"),
    "a field that is not ASCII": request(PING, b"X-A: \xe9\xc3\xa9\r\n"),
    "an empty field": request(PING, b"X-A:\r\n"),
    "keep-alive": request(PING, b"Connection: Keep-Alive\r\n"),
}


@pytest.mark.parametrize("what", GOOD)
def test_a_request_whose_end_is_plain_is_served_and_so_is_the_next(place, what):
    with Wire(place.endpoint) as wire:
        for _ in range(2):
            answer = wire.ask(GOOD[what])
            assert answer.status == 200 and answer.message["id"] == 1 and not answer.closes, answer


def test_a_request_may_come_in_any_pieces(place):
    whole = request() + head(CHUNKED) + chunks(PING, 9)
    for cut in range(1, len(whole)):
        with Wire(place.endpoint) as wire:
            wire.send(whole[:cut], whole[cut:])
            assert [wire.response().status for _ in range(2)] == [200, 200], whole[:cut]


length = b"Content-Length: %d\r\n" % len(PING)
DOUBTFUL = {
    "a length and chunks": (400, head(CHUNKED, length) + chunks(PING, 100)),
    "chunks and a length": (400, head(length, CHUNKED) + chunks(PING, 100)),
    "two lengths": (400, head(length, b"Content-Length: 5\r\n") + PING),
    "the same length twice": (400, head(length, length) + PING),
    "a list of lengths": (400, head(b"Content-Length: 40, 40\r\n") + PING),
    "a signed length": (400, head(b"Content-Length: +40\r\n") + PING),
    "a negative length": (400, head(b"Content-Length: -1\r\n") + PING),
    "a hexadecimal length": (400, head(b"Content-Length: 0x28\r\n") + PING),
    "an empty length": (400, head(b"Content-Length: \r\n") + PING),
    "a length that no machine has": (400, head(b"Content-Length: 99999999999999999999999\r\n") + PING),
    "an unknown coding": (501, head(b"Transfer-Encoding: xchunked\r\n") + chunks(PING, 100)),
    "a coding before chunks": (501, head(b"Transfer-Encoding: gzip, chunked\r\n") + chunks(PING, 100)),
    "a coding after chunks": (400, head(b"Transfer-Encoding: chunked, identity\r\n") + chunks(PING, 100)),
    "chunks twice": (400, head(CHUNKED, CHUNKED) + chunks(PING, 100)),
    "identity and a length": (400, head(b"Transfer-Encoding: identity\r\n", length) + PING),
    "a space before the colon": (400, head(b"Transfer-Encoding : chunked\r\n") + chunks(PING, 100)),
    "a vertical tab": (400, head(b"Transfer-Encoding: \x0bchunked\r\n") + chunks(PING, 100)),
    "chunks in HTTP/1.0": (400, head(CHUNKED, line=b"POST /mcp HTTP/1.0") + chunks(PING, 100)),
    "a chunk's size that is no number": (400, head(CHUNKED) + b"zz\r\n" + PING),
    "a chunk's negative size": (400, head(CHUNKED) + b"-1\r\n" + PING),
    "a chunk's size with a prefix": (400, head(CHUNKED) + b"0x28\r\n" + PING),
    "a chunk's size that no machine has": (400, head(CHUNKED) + b"ffffffffffffffffff\r\n" + PING),
    "a chunk that is longer than its size": (400, head(CHUNKED) + b"10\r\n%s\r\n0\r\n\r\n" % PING),
    "chunks whose lines end alone": (400, head(CHUNKED) + b"28\n%s\n0\n\n" % PING),
    "a folded field": (400, request(PING, b"X-A: b\r\n c\r\n")),
    "lines that end alone": (505, request().replace(b"\r\n", b"\n")),
    "a return within a field": (400, request(PING, b"X-A: b\rc\r\n")),
    "a zero within a field": (400, request(PING, b"X-A: b\0c\r\n")),
    "a field without name": (400, request(PING, b": b\r\n")),
    "a field without colon": (400, request(PING, b"XAb\r\n")),
    "a name with a space": (400, request(PING, b"X A: b\r\n")),
    "a name that is not ASCII": (400, request(PING, b"X\xc3\xa9: b\r\n")),
    "too many fields": (431, request(PING, *(b"X-%d: a\r\n" % number for number in range(1100)))),
    "a field that is too large": (431, request(PING, b"X-A: " + b"a" * 100_000 + b"\r\n")),
    "fields that are too large together": (431, request(PING, *(b"X-%d: %s\r\n" % (n, b"a" * 9_000) for n in range(10)))),
    "a trailer that is too large": (431, head(CHUNKED) + chunks(PING, 7)[:-2] + b"X-A: " + b"a" * 100_000 + b"\r\n\r\n"),
    "an address that is too long": (431, request(line=b"POST /mcp?" + b"a" * 200_000 + b" HTTP/1.1")),
    "no host": (400, request(host=b"")),
    "two hosts": (400, request(host=HOST + b"Host: evil.example\r\n")),
    "one host twice": (400, request(host=HOST + HOST)),
    "the address of another host": (400, request(line=b"POST http://evil.example/mcp HTTP/1.1")),
    "another host's name before the address": (400, request(line=b"POST http://localhost@evil.example/mcp HTTP/1.1")),
    "an address of another kind": (400, request(line=b"POST ftp://localhost/mcp HTTP/1.1")),
    "an authority as the target": (400, request(line=b"POST localhost:80 HTTP/1.1")),
    "a tunnel": (501, head(line=b"CONNECT evil.example:443 HTTP/1.1")),
    "a target that is not UTF-8": (400, request(line=b"POST /mcp\xff\xfe HTTP/1.1")),
    "an unknown method": (501, request(line=b"FROB /mcp HTTP/1.1")),
    "a long method": (501, request(line=b"F" * 10_000 + b" /mcp HTTP/1.1")),
    "HTTP/2.0": (505, request(line=b"POST /mcp HTTP/2.0")),
    "HTTP/1.9": (505, request(line=b"POST /mcp HTTP/1.9")),
    "HTTP/2's preface": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": (501, bytes.fromhex("1603010200010001fc0303") + b"\0" * 100),
    "no HTTP": (501, b"hello\r\n\r\n"),
}


@pytest.mark.parametrize("what", DOUBTFUL)
def test_a_request_whose_end_is_doubtful_is_refused_with_a_reason_and_nothing_after_it_is_read(place, what):
    status, sent = DOUBTFUL[what]
    with Wire(place.endpoint) as wire:
        answer = wire.ask(sent + request())
        assert answer.status == status and answer.closes and len(answer.body) > 10, answer
        assert wire.rest() == b""
    # What came before it is answered first.
    with Wire(place.endpoint) as wire:
        wire.send(request() + sent + request())
        assert [wire.response().status for _ in range(2)] == [200, status]
        assert wire.rest() == b""


EARLY = {
    "no token": (401, {"token": None}),
    "a wrong token": (401, {"token": "wrong"}),
    "another origin": (403, {"content": JSON + b"Origin: http://evil.example\r\n"}),
    "another host": (403, {"host": b"Host: evil.example\r\n"}),
    "another type": (415, {"content": b"Content-Type: text/plain\r\nAccept: */*\r\n"}),
    "another answer": (406, {"content": b"Content-Type: application/json\r\nAccept: text/html\r\n"}),
    "another method": (405, {"line": b"PUT /mcp HTTP/1.1"}),
    "another path": (404, {"line": b"POST /nothing HTTP/1.1"}),
}


@pytest.mark.parametrize("what", EARLY)
@pytest.mark.parametrize("encoding", ["length", "chunks"])
def test_a_body_that_nobody_reads_is_not_taken_for_the_next_request(place, what, encoding):
    status, options = EARLY[what]
    inner = request(legacy("ping", 666))
    sent = request(inner, **options) if encoding == "length" else head(CHUNKED, **options) + chunks(inner, 50)
    with Wire(place.endpoint) as wire:
        wire.send(sent + request(legacy("ping", 2)))
        refused, served = wire.response(), wire.response()
        assert refused.status == status and served.message == {"jsonrpc": "2.0", "id": 2, "result": {}}, (refused, served)


def test_a_body_that_breaks_after_its_refusal_ends_the_connection_without_a_second_answer(place):
    with Wire(place.endpoint) as wire:
        assert wire.ask(head(CHUNKED, token=None), b"5\r\nhello\r\n").status == 401
        assert wire.send(b"what is this\r\n" + request()).rest() == b""


@pytest.mark.parametrize("size", [10 ** 12, 2 ** 63, 2 ** 64 - 1])
def test_a_length_that_is_too_large_is_refused_at_once_and_its_body_is_read_no_further_than_the_largest(place, size):
    with Wire(place.endpoint) as wire:
        assert wire.ask(head(b"Content-Length: %d\r\n" % size)).status == 413
        with pytest.raises(ConnectionError):
            for _ in range(10_000):
                wire.send(b"x" * 65536)


def test_answers_come_in_the_order_of_their_requests(place):
    sent = [(200, request(call("say", 1, bytes=300_000))), (200, request(legacy("ping", 2))), (401, request(token=None)),
            (404, head(line=b"GET /nothing HTTP/1.1")), (200, request(call("say", 5, bytes=10)))]
    sent += [(200, request(legacy("ping", number))) for number in range(6, 200)]
    with Wire(place.endpoint) as wire:
        wire.send(b"".join(each for _, each in sent))
        answers = [wire.response() for _ in sent]
        assert [answer.status for answer in answers] == [status for status, _ in sent]
        assert [answer.message["id"] for answer in answers if answer.status == 200] == [1, 2, *range(5, 200)]


@pytest.mark.parametrize("path", ["/health", "/mcp", "/", "/nothing"])
def test_the_answer_to_head_has_no_body(place, path):
    with Wire(place.endpoint) as wire:
        wire.send(head(line=f"HEAD {path} HTTP/1.1".encode()) + request())
        assert wire.response(has_body=False).status in (404, 405, 401, 200)
        assert wire.response().message["id"] == 1


CLOSING = {
    "close": (b"POST /mcp HTTP/1.1", b"Connection: close\r\n"),
    "Close": (b"POST /mcp HTTP/1.1", b"Connection: Close\r\n"),
    "close among others": (b"POST /mcp HTTP/1.1", b"Connection: TE, close\r\n"),
    "HTTP/1.0": (b"POST /mcp HTTP/1.0", b""),
    "another protocol, which is not taken up": (b"POST /mcp HTTP/1.1", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"),
}


@pytest.mark.parametrize("what", CLOSING)
def test_a_connection_ends_after_the_answer_to_the_last_request(place, what):
    line, field = CLOSING[what]
    with Wire(place.endpoint) as wire:
        answer = wire.ask(request(PING, field, line=line) + request())
        assert answer.status == 200 and answer.closes and answer.message["id"] == 1
        assert answer.version == line.decode()[-3:]
        assert wire.rest() == b""


def test_a_stream_to_http_1_0_is_not_in_chunks(place):
    with Wire(place.endpoint) as wire:
        answer = wire.ask(request(call("chat", 7, progress=1, times=20), line=b"POST /mcp HTTP/1.0"))
        assert answer.fields["content-type"] == "text/event-stream" and "transfer-encoding" not in answer.fields
        assert answer.body.startswith(b"event: message\n") and b'"id":7' in answer.body


def test_go_on_is_said_only_to_a_request_that_may(place):
    expect = b"Expect: 100-continue\r\n"
    with Wire(place.endpoint) as wire:
        assert wire.ask(head(expect, length)).status == 100
        assert wire.ask(PING).status == 200
        # Who has sent it at once is told nothing.
        assert wire.ask(request(PING, b"Expect: 100-Continue\r\n")).status == 200
    refused = [(status, head(expect, length, **options)) for status, options in EARLY.values()]
    refused += [(413, head(expect, b"Content-Length: 99999999999\r\n")), (400, head(expect, length, length))]
    for status, sent in refused:
        with Wire(place.endpoint) as wire:
            assert wire.ask(sent).status == status
    with Wire(place.endpoint) as wire:
        assert wire.ask(request(PING, expect, line=b"POST /mcp HTTP/1.0")).status == 200


def test_headers_that_repeat_the_body_agree_with_what_is_served_where_names_come_twice(place):
    """The last of two members counts, for the routing as for the call."""
    body = modern_request("tools/call", name="echo", arguments={}).split(b"\r\n\r\n", 1)
    for first, last, status in [("say", "echo", 200), ("echo", "say", 400)]:
        twice = body[1].replace(b'"name": "echo"', f'"name": "{first}", "name": "{last}"'.encode())
        sent = head(b"MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: echo\r\n",
                    b"Content-Length: %d\r\n" % len(twice))
        with Wire(place.endpoint) as wire:
            answer = wire.ask(sent + twice)
            assert answer.status == status, answer
            assert (answer.message["error"]["code"] == -32020) if status == 400 else "result" in answer.message
