"""MCP without a client library: messages, HTTP byte by byte, and lines through a relay's pipes."""

import json
import os
import re
import select
import socket
import struct
import subprocess
import time
import urllib.parse

import plugins
from knap_host import KNAP, wait_for
from test_workers import state_of

JSON = b"Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
HOST = b"Host: localhost\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
VERSION, CAPABILITIES = "io.modelcontextprotocol/protocolVersion", "io.modelcontextprotocol/clientCapabilities"


def legacy(method, number=1, **params):
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()


def modern(method, number=1, **params):
    params["_meta"] = {**params.get("_meta", {}), VERSION: "2026-07-28", CAPABILITIES: {}}
    return legacy(method, number, **params)


def call(tool, number=1, make=legacy, progress=None, **arguments):
    params = {} if progress is None else {"_meta": {"progressToken": progress}}
    return make("tools/call", number, name=tool, arguments=arguments, **params)


PING = legacy("ping")
INITIALIZE = legacy("initialize", 0, protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "wire", "version": "1"})


def chunks(body, size):
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[at:at + size] for at in range(0, len(body), size))) + b"0\r\n\r\n"


def head(*fields, line=b"POST /mcp HTTP/1.1", host=HOST, token="test-token", content=JSON):
    """A request's head; each field ends with its line."""
    bearer = b"Authorization: Bearer " + token.encode() + b"\r\n" if token else b""
    return line + b"\r\n" + host + bearer + content + b"".join(fields) + b"\r\n"


def request(body=PING, *fields, **options):
    return head(b"Content-Length: %d\r\n" % len(body), *fields, **options) + body


def routed(message):
    """A message as a request, with the headers that its era demands."""
    try:
        parsed = json.loads(message)
        params = parsed["params"]
        version = params["_meta"][VERSION]
    except (ValueError, KeyError, TypeError, RecursionError):
        return request(message)
    fields = [f"MCP-Protocol-Version: {version}\r\nMcp-Method: {parsed['method']}\r\n".encode()]
    if name := params.get("name", params.get("uri")):
        fields.append(f"Mcp-Name: {name}\r\n".encode())
    return request(message, *fields)


def modern_request(method, number=1, name=None, **params):
    fields = [b"MCP-Protocol-Version: 2026-07-28\r\n", b"Mcp-Method: " + method.encode() + b"\r\n"]
    if name:
        fields.append(b"Mcp-Name: " + name.encode() + b"\r\n")
        params["name"] = name
    return request(modern(method, number, **params), *fields)


class Response:
    def __init__(self, status, version, fields, body):
        self.status, self.version, self.fields, self.body = status, version, fields, body

    @property
    def message(self):
        return json.loads(self.body)

    @property
    def closes(self):
        return self.fields.get("connection") == "close"

    def __repr__(self):
        return f"{self.status} {self.fields} {self.body[:300]}"


class Wire:
    """One connection to the endpoint."""

    def __init__(self, endpoint, timeout=60):
        url = urllib.parse.urlsplit(endpoint)
        self.socket = socket.create_connection((url.hostname, url.port), timeout=timeout)
        self.received = b""

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Closes as a program that is killed with its work unread."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, *parts):
        for part in parts:
            self.socket.sendall(part)
        return self

    def finish(self):
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def more(self):
        """False at the end."""
        part = self.socket.recv(1 << 16)
        self.received += part
        return bool(part)

    def take(self, count):
        while len(self.received) < count:
            assert self.more(), f"the connection ended within {self.received[-300:]}"
        part, self.received = self.received[:count], self.received[count:]
        return part

    def line(self):
        while b"\r\n" not in self.received:
            assert self.more(), f"the connection ended within {self.received[-300:]}"
        line, self.received = self.received.split(b"\r\n", 1)
        return line

    def head(self):
        version, status = re.fullmatch(rb"HTTP/(1\.[01]) (\d+) [^\r\n]*", self.line()).groups()
        fields = {}
        while line := self.line():
            name, value = line.decode().split(": ", 1)
            assert name.lower() not in fields, f"{name} twice"
            fields[name.lower()] = value
        return int(status), version.decode(), fields

    def response(self, has_body=True):
        """The next response, whole; with chunks until their end, without length until the connection's."""
        status, version, fields = self.head()
        if status < 200 or status == 204 or not has_body:
            body = b""
        elif "content-length" in fields:
            body = self.take(int(fields["content-length"]))
        elif fields.get("transfer-encoding") == "chunked":
            body = b"".join(iter(self.chunk, b""))
        else:
            while self.more():
                pass
            body, self.received = self.received, b""
        return Response(status, version, fields, body)

    def chunk(self):
        part = self.take(int(self.line(), 16))
        assert self.line() == b""
        return part

    def event(self):
        """The data of the next event of a chunked stream."""
        while not (data := re.search(rb"^data: (.*)$", self.chunk(), re.MULTILINE)):
            pass
        return json.loads(data[1])

    def ask(self, *parts):
        return self.send(*parts).response()

    def rest(self):
        """All until the end, which the server makes."""
        try:
            while self.more():
                pass
        except ConnectionResetError:
            pass
        return self.received


def ping(endpoint):
    with Wire(endpoint) as wire:
        answer = wire.ask(request(PING))
        assert answer.status == 200 and answer.message == {"jsonrpc": "2.0", "id": 1, "result": {}}, answer


class Pipes:
    """A relay whose stdin and stdout are written and read as bytes."""

    def __init__(self, place, **options):
        self.process = subprocess.Popen(
            [KNAP, *place.relay_arguments()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=place.environment, **options)
        place.processes.append(self.process)

    def send(self, *parts):
        for part in parts:
            self.process.stdin.write(part)
        self.process.stdin.flush()
        return self

    def write_while_taken(self, parts, seconds):
        """Writes until nothing was taken for a while; returns how many parts were taken whole."""
        descriptor = self.process.stdin.fileno()
        os.set_blocking(descriptor, False)
        for number, part in enumerate(parts):
            while part:
                if not select.select([], [descriptor], [], seconds)[1]:
                    return number
                part = part[os.write(descriptor, part):]
        return len(parts)

    def message(self):
        line = self.process.stdout.readline()
        assert line.endswith(b"\n"), f"stdout ended: {line[:300]}, exit {self.process.wait(10)}, {self.process.stderr.read()[-500:]}"
        return json.loads(line)

    def answer(self, number):
        """The answer to a request; what is told meanwhile is left out."""
        while (message := self.message()).get("id") != number:
            assert "method" in message, message
        return message

    def all(self, *parts, seconds=60):
        """Writes, closes stdin, and returns every message until the orderly end."""
        out, errors = self.process.communicate(b"".join(parts), timeout=seconds)
        assert self.process.returncode == 0, errors
        return [json.loads(line) for line in out.splitlines()]

    def close(self, seconds=30):
        self.process.stdin.close()
        code = self.process.wait(seconds)
        self.process.stdout.close()
        self.process.stderr.close()
        return code


TOOLS = {
    "echo": "Says it again.", "say": "Says a long text.", "wait": "Waits until it is cancelled.", "chat": "Talks all the time.",
}


def chatter(place, isolation=None, **manifest):
    """Adds the plugin that lasts and talks; its tools are echo, say, wait and chat."""
    tools = [{"kind": "tool", "name": name, "description": text, "method": f"test.chatter.{name}"} for name, text in TOOLS.items()]
    plugins.drop(place, plugins.build(
        place.root / "built", "chatter", source="chatter.c", deadline_ms=600_000, methods={"chat": {"blocking": True}},
        contributes={"mcp": tools}, **manifest))
    wait_for(lambda: state_of(place, "chatter") == "active", "the start")
    if isolation:
        assert place.knap("plugins", "isolate", "chatter", isolation, "--state", str(place.state)).returncode == 0


def lasting(place):
    """How many calls of `wait` and `chat` last now; None while the plugin is too busy to say."""
    result = place.knap("call", "test.chatter.lasting", "--state", str(place.state), "--json")
    if result.returncode:
        assert "RESOURCE_EXHAUSTED" in result.stderr, result.stderr
        return None
    return int(result.stdout)


def kilobytes(process):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{process}/status").read()).group(1))
