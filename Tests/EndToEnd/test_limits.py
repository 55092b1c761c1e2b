"""The largest body is the same everywhere, and what is larger is refused without harm to anybody else."""

import http.client
import json
import socket
import subprocess
import urllib.parse

import pytest

import plugins
from knap_host import KNAP, wait_for
from test_http import post
from test_live_changes import command
from test_workers import info, state_of

LARGEST = 64 << 20
# What an envelope may have besides.
AROUND = 64 << 10


@pytest.fixture
def served(place):
    place.endpoint = place.serve()
    tool = {"kind": "tool", "name": "say_it", "description": "Says it again.", "method": "test.mirror.echo"}
    plugins.drop(place, plugins.build(place.root / "built", "mirror", deadline_ms=60_000, contributes={"mcp": [tool]}))
    wait_for(lambda: state_of(place, "mirror") == "active", "the start")
    return place


def text_of(size):
    """A JSON string of so many bytes."""
    return '"' + "knap " * ((size - 2) // 5) + "." * ((size - 2) % 5) + '"'


@pytest.mark.parametrize("isolation", ["worker", "in-process"])
def test_the_largest_body_crosses_whole_and_one_byte_more_is_refused(served, isolation):
    assert command(served, "plugins", "isolate", "mirror", isolation).returncode == 0
    body = text_of(LARGEST)
    arguments = ["call", "test.mirror.echo", "-", "--state", str(served.state), "--json"]
    crossed = served.knap(*arguments, stdin=body, timeout=120)
    assert crossed.returncode == 0, crossed.stderr[:1000]
    assert crossed.stdout.strip() == body
    refused = served.knap(*arguments, stdin=text_of(LARGEST + 1), timeout=120)
    error = json.loads(refused.stderr)["error"]
    assert error["code"] == "INVALID_ARGUMENT" and "64 MiB" in error["message"]
    assert error["details"] == {"class": "caller", "retry": False, "may_have_run": False}
    assert served.call("test.mirror.echo", text="well") == {"text": "well"}
    assert info(served, "mirror")["calls"]["failed"]["caller"] == 1


def test_a_request_that_is_too_long_ends_no_connection_to_the_control_socket(served):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(served.state / "control.sock"))
        lines = client.makefile("rb")
        for _ in range(2):
            client.sendall(b'{"call":"test.mirror.echo","input":' + text_of(LARGEST + 2 * AROUND).encode() + b"}\n")
            refused = json.loads(lines.readline())
            assert refused["code"] == "INVALID_ARGUMENT" and "64 MiB" in refused["message"]
            client.sendall(b'{"call":"test.mirror.echo","input":"well"}\n')
            assert json.loads(lines.readline())["result"] == "well"


def call_of(arguments, number=1):
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": "say_it", "arguments": arguments}}


def test_over_http_the_largest_arguments_cross_and_what_is_larger_is_413(served):
    bearer = {"Authorization": f"Bearer {served.token}"}
    arguments = {"text": "x" * (LARGEST - len('{"text":""}'))}
    status, _, answer = post(served.endpoint, call_of(arguments), **bearer)
    assert status == 200
    assert json.loads(json.loads(answer)["result"]["content"][0]["text"]) == arguments
    arguments["text"] += "x"
    status, _, answer = post(served.endpoint, call_of(arguments), **bearer)
    assert "64 MiB" in answer.decode() and "more than" in answer.decode()
    # It is told before it has sent anything, and may go on with the connection.
    url = urllib.parse.urlsplit(served.endpoint)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    connection.putrequest("POST", url.path)
    for name, value in {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **bearer,
                        "Content-Length": str(LARGEST + AROUND + 1)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    # In pieces nobody knows how much will come.
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    pieces = (b" " * (1 << 20) for _ in range(66))
    try:
        connection.request("POST", url.path, pieces, {"Content-Type": "application/json", **bearer,
                                                      "Accept": "application/json, text/event-stream"}, encode_chunked=True)
    except (BrokenPipeError, ConnectionResetError):
        pass  # answered before all of it was sent
    assert connection.getresponse().status == 413
    connection.close()
    status, _, answer = post(served.endpoint, call_of({"text": "well"}), **bearer)
    assert status == 200 and "well" in answer.decode()


def test_over_stdio_the_largest_arguments_cross_and_a_message_that_is_too_long_is_refused(served):
    client = subprocess.Popen([KNAP, *served.relay_arguments()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=served.environment)
    served.processes.append(client)

    def ask(message):
        client.stdin.write(json.dumps(message).encode() + b"\n")
        client.stdin.flush()
        return json.loads(client.stdout.readline())

    initialize = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    assert "result" in ask({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": initialize})
    arguments = {"text": "x" * (LARGEST - len('{"text":""}'))}

    def answer_to(number, message):
        answer = ask(message)
        while answer.get("id") != number and "method" in answer:  # notifications of changed lists
            answer = json.loads(client.stdout.readline())
        return answer

    crossed = answer_to(1, call_of(arguments, 1))
    assert json.loads(crossed["result"]["content"][0]["text"]) == arguments
    refused = answer_to(2, call_of({"text": "x" * (LARGEST + AROUND)}, 2))
    assert "longer than" in refused["error"]["message"]
    assert "well" in json.dumps(answer_to(3, call_of({"text": "well"}, 3)))
    client.stdin.close()
