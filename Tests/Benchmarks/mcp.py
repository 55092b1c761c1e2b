"""`tools/call` of a trivial tool over HTTP and stdio, beside the peers' servers and a fixed answer in C, in one run.

HTTP is measured by wrk on the same processors. Run by Tests/Benchmarks/run, in the tests' environment with fastmcp.
"""

import json
import os
import pathlib
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "EndToEnd"))
import plugins
from knap_host import KNAP, Place, wait_for
from test_workers import state_of

SECONDS = int(os.environ.get("KNAP_BENCHMARK_SECONDS", 5))
STREAMS = int(os.environ.get("KNAP_BENCHMARK_STREAMS", 5000))
PIPELINED = 100_000
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
PEERS = {
    "official Python SDK": """
        from mcp.server import MCPServer
        server = MCPServer("peer")
        @server.tool()
        def echo(text: str) -> str: return text
        server.run(transport="streamable-http", port=PORT, stateless_http=True, json_response=True)
        """,
    "FastMCP": """
        from fastmcp import FastMCP
        server = FastMCP("peer")
        @server.tool
        def echo(text: str) -> str: return text
        server.run(transport="http", port=PORT, stateless_http=True, json_response=True, show_banner=False)
        """,
}


def request(modern, tool="echo"):
    params = {"name": tool, "arguments": {"text": "hello"}}
    if modern:
        params["_meta"] = META
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}, separators=(",", ":"))


def headers(modern, token, tool="echo"):
    given = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    if token:
        given["Authorization"] = f"Bearer {token}"
    if modern:
        given |= {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": tool}
    else:
        given["MCP-Protocol-Version"] = "2025-11-25"
    return given


def wrk(endpoint, modern, connections, token=None):
    """Requests a second, and the milliseconds within which half and 99 of 100 were answered."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write('wrk.method = "POST"\n')
        for name, value in headers(modern, token).items():
            script.write(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}\n")
        script.write(f"wrk.body = {json.dumps(request(modern))}\n")
        script.flush()
        out = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", "-s", script.name, endpoint],
            capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in out and "Socket errors" not in out, out
    unit = {"us": 0.001, "ms": 1, "s": 1000}
    found = [re.search(rf"{share}%\s+([\d.]+)(us|ms|s)", out) for share in (50, 99)]
    return [float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)), *(float(m.group(1)) * unit[m.group(2)] for m in found)]


def row(what, figures):
    rate, half, most = figures
    print(f"{what:58} {rate:10,.0f} {half:8.2f} {most:8.2f}", flush=True)


def answers(endpoint, modern, token=None):
    """The text of one answer, so that no server is measured that answers something else."""
    url = urllib.parse.urlsplit(endpoint)
    import http.client
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    connection.request("POST", url.path, request(modern), headers(modern, token))
    body = connection.getresponse().read().decode()
    connection.close()
    return "hello" in body


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def measure_peers():
    for name, source in PEERS.items():
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(source).replace("PORT", str(port))],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            endpoint = f"http://127.0.0.1:{port}/mcp"

            def is_up():
                try:
                    return answers(endpoint, False)
                except OSError:
                    return False

            wait_for(is_up, f"the start of {name}", 60)
            row(f"{name}, 16 connections", wrk(endpoint, False, 16))
        finally:
            process.kill()
            process.wait()


PARTS = {
    "client": "the client, wrk",
    "network": "TCP and epoll, in the kernel",
    "http": "HTTP: SwiftNIO's loop and parser, the Gateway's handlers",
    "threads": "from the loop to a task and back, in the kernel",
    "mcp": "MCP: JSON, access, catalogue, schema, answer; Swift's tasks",
    "call": "the host's call and its ring to the worker",
    "worker": "the plugin's worker",
}


def part(thread, library):
    """Whose a sample is, by its thread and library; None for what is not of the call."""
    in_kernel = "kernel" in library
    if thread == "wrk":
        return "client"
    if thread.startswith("NIO-"):
        return "network" if in_kernel else "http"
    if thread.startswith("knap-worker"):
        return "worker"
    # The pool of Swift's tasks; the kernel keeps the end of a thread's name.
    if thread.endswith("default-qos"):
        return "threads" if in_kernel else "call" if library == "knap" else "mcp"
    return None


def measure_where(endpoint, token):
    """Where the processors' time goes while 16 connections call, sampled over the whole machine."""
    with tempfile.TemporaryDirectory() as folder:
        samples = f"{folder}/samples"
        perf = subprocess.Popen(["perf", "record", "-a", "-F", "999", "-o", samples], stderr=subprocess.PIPE)
        wrk(endpoint, False, 16, token)
        perf.send_signal(signal.SIGINT)
        perf.communicate()
        report = subprocess.run(
            ["perf", "report", "-i", samples, "--stdio", "--no-children", "--sort", "comm,dso", "--field-separator", ";"],
            capture_output=True, text=True).stdout
    shares = dict.fromkeys(PARTS, 0.0)
    for share, thread, library in re.findall(r"^ *([\d.]+)% *; *([^;]+?) *; *(\S+)", report, re.MULTILINE):
        if whose := part(thread, library):
            shares[whose] += float(share)
    if total := sum(shares.values()):
        print("where the time of a call goes, 16 connections, handshake era")
        for whose, text in PARTS.items():
            print(f"  {text:64} {shares[whose] / total:4.0%}")
    else:
        print("where the time goes is not measured: perf may not sample this machine")


FIXED = r"""
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
// Answers every request with the same bytes: what the network, epoll and wrk leave to a server.
int main(void) {
    static const char body[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"hello\"}]}}";
    char answer[512], buffer[65536];
    int length = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", sizeof body - 1, body);
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1, poll = epoll_create1(0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 128)) return 1;
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[64];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(poll, events, 64, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                fd = accept(listener, NULL, NULL);
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                event.data.fd = fd;
                epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
                continue;
            }
            if (read(fd, buffer, sizeof buffer) <= 0) { close(fd); continue; }
            if (write(fd, answer, length) != length) close(fd);
        }
    }
}
"""


def measure_limit(folder):
    source, program = folder / "fixed.c", folder / "fixed"
    source.write_text(FIXED)
    subprocess.run(["cc", "-O2", "-w", "-D_GNU_SOURCE", str(source), "-o", str(program)], check=True)
    process = subprocess.Popen([program], stdout=subprocess.PIPE, text=True)
    try:
        port = int(process.stdout.readline())
        row("limit: a fixed answer in C, 16 connections", wrk(f"http://127.0.0.1:{port}/mcp", False, 16))
    finally:
        process.kill()
        process.wait()


def measure_stdio(place, modern):
    """All requests written as fast as they are taken, and the answers counted."""
    relay = subprocess.Popen(
        [KNAP, *place.relay_arguments()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=place.environment)
    if not modern:
        hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "benchmark", "version": "1"}}}
        relay.stdin.write(json.dumps(hello).encode() + b"\n")
        relay.stdin.flush()
        assert b"serverInfo" in relay.stdout.readline()
    template = request(modern)
    text = "".join(template.replace('"id":1', f'"id":{number}', 1) + "\n" for number in range(PIPELINED)).encode()
    for end in (relay.stdin, relay.stdout):
        os.set_blocking(end.fileno(), False)
    began, sent, lines = time.perf_counter(), 0, 0
    while lines < PIPELINED:
        wanted = [relay.stdin] if sent < len(text) else []
        readable, writable, _ = select.select([relay.stdout], wanted, [], 60)
        assert readable or writable, f"{lines} answers, and then none for a minute"
        if writable:
            sent += os.write(relay.stdin.fileno(), text[sent:sent + 65536])
        if readable:
            lines += os.read(relay.stdout.fileno(), 1 << 20).count(b"\n")
    rate = PIPELINED / (time.perf_counter() - began)
    relay.stdin.close()
    relay.wait()
    return rate


def resident(process):
    return int(re.search(r"Rss:\s+(\d+)", pathlib.Path(f"/proc/{process}/smaps_rollup").read_text()).group(1))


def measure_streams(kind):
    """Opens streams of one kind to a fresh host; tells how much memory each costs, and whether all hear of a change."""
    place = Place()
    try:
        open_streams(place, place.serve(), kind)
    finally:
        place.close()


def open_streams(place, endpoint, kind):
    url = urllib.parse.urlsplit(endpoint)
    listen = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": {
        "_meta": META, "notifications": {"toolsListChanged": True}}})
    common = f"Host: {url.netloc}\r\nAuthorization: Bearer {place.token}\r\n"
    kinds = {
        KINDS[0]: f"GET {url.path} HTTP/1.1\r\n{common}Accept: text/event-stream\r\n\r\n",
        KINDS[1]:
            f"POST {url.path} HTTP/1.1\r\n{common}Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
            f"MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: subscriptions/listen\r\nContent-Length: {len(listen)}\r\n\r\n{listen}",
    }
    host = place.host_pid()
    before, streams = resident(host), []
    for _ in range(STREAMS):
        stream = socket.create_connection((url.hostname, url.port))
        stream.sendall(kinds[kind].encode())
        streams.append(stream)
    for stream in streams:
        heard = b""
        while b"\n\n" not in heard.split(b"\r\n\r\n", 1)[-1]:
            heard += stream.recv(4096)
    each = (resident(host) - before) / STREAMS
    plugins.drop(place, plugins.build(place.root / "built", "late", contributes={"mcp": [
        {"kind": "tool", "name": "late", "description": "late", "method": "test.late.echo"}]}))
    for stream in streams:
        heard = b""
        while b"list_changed" not in heard:
            part = stream.recv(4096)
            assert part, "a stream ended"
            heard += part
    print(f"{kind + ', idle stream':58} {each:8.1f} KB each of {STREAMS:,}; all were told of a change", flush=True)
    for stream in streams:
        stream.close()


KINDS = ("GET, handshake era", "subscriptions/listen, stateless era")


def main():
    place = Place()
    try:
        endpoint = place.serve()
        library = plugins.build(place.root / "built", "bench", contributes={"mcp": [
            {"kind": "tool", "name": "echo", "description": "Says it again.", "method": "test.bench.echo"}]})
        plugins.drop(place, library)
        wait_for(lambda: state_of(place, "bench") == "active", "the start of the tool's plugin")
        print(f"{'tools/call over HTTP, by wrk on the same processors':58} {'calls/s':>10} {'p50 ms':>8} {'p99 ms':>8}")
        for modern, era in ((False, "handshake era"), (True, "stateless era")):
            assert answers(endpoint, modern, place.token)
            for connections in (4, 16, 64):
                row(f"Knap, {era}, {connections} connections", wrk(endpoint, modern, connections, place.token))
        measure_where(endpoint, place.token)
        measure_limit(place.root)
        measure_peers()
        print("tools/call over stdio, pipelined")
        for modern, era in ((False, "handshake era"), (True, "stateless era")):
            print(f"{'Knap, ' + era:58} {measure_stdio(place, modern):10,.0f}", flush=True)
    finally:
        place.close()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    for kind in KINDS:
        measure_streams(kind)


main()
