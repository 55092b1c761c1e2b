"""The Gateway is reloaded under its clients: on stdio, on HTTP and on event streams. No answer is lost or doubled."""

import http.client
import json
import subprocess
import threading
import urllib.parse

from knap_host import KNAP, wait_for
from test_http import post

RELOADS = 100
STREAMS = 50


class StdioClient:
    """Sends tool calls over `knap mcp` as fast as they are answered, eight at a time."""

    def __init__(self, place, calls=True):
        self.process = subprocess.Popen(
            [KNAP, *place.relay_arguments()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=place.environment)
        self.answers, self.asked, self.stopping = [], 0, False
        self.send({"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}})
        assert "result" in self.read()
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        self.thread = threading.Thread(target=self.run)
        if calls:
            self.thread.start()

    def send(self, message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def read_any(self):
        line = self.process.stdout.readline()
        assert line, "the relay ended"
        return json.loads(line)

    def read(self):
        while "id" not in (message := self.read_any()):
            pass
        return message

    def run(self):
        while not self.stopping or len(self.answers) < self.asked:
            while not self.stopping and self.asked - len(self.answers) < 8:
                self.asked += 1
                self.send({"jsonrpc": "2.0", "id": self.asked, "method": "tools/call",
                           "params": {"name": "list_notes", "arguments": {"limit": 1}}})
            if len(self.answers) < self.asked:
                self.answers.append(self.read())

    def close(self):
        self.stopping = True
        if self.thread.is_alive():
            self.thread.join(60)
        self.process.stdin.close()
        self.process.wait(10)


class Stream:
    """A subscription over HTTP that is opened again whenever it ends."""

    def __init__(self, place, number):
        self.url, self.token, self.number = urllib.parse.urlsplit(place.endpoint), place.token, number
        self.ends, self.opened, self.stopping, self.failures = 0, 0, False, []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopping:
            connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=30)
            try:
                connection.request("POST", self.url.path, json.dumps({
                    "jsonrpc": "2.0", "id": self.number, "method": "subscriptions/listen", "params": {
                        "notifications": {"toolsListChanged": True}, "_meta": {
                            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
                            "io.modelcontextprotocol/clientCapabilities": {}}}}),
                    {"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
                     "Authorization": f"Bearer {self.token}", "MCP-Protocol-Version": "2026-07-28",
                     "Mcp-Method": "subscriptions/listen"})
                answer = connection.getresponse()
                if answer.status != 200:
                    self.failures.append((answer.status, answer.read()))
                    return
                self.opened += 1
                messages = [json.loads(line[5:]) for line in iter(answer.readline, b"") if line.startswith(b"data:")]
                # What was asked is answered once, last.
                if [message.get("id") for message in messages if "method" not in message] != [self.number]:
                    self.failures.append(messages)
                    return
                self.ends += 1
            except (http.client.RemoteDisconnected, ConnectionError, TimeoutError) as error:
                self.failures.append(repr(error))
            finally:
                connection.close()


def test_no_answer_is_lost_or_doubled_while_the_gateway_is_reloaded(place):
    place.endpoint = place.serve()
    place.wait_until_indexed()
    clients = [StdioClient(place) for _ in range(2)]
    streams = [Stream(place, number) for number in range(STREAMS)]
    wait_for(lambda: all(stream.opened for stream in streams) or any(stream.failures for stream in streams), "the streams")
    assert not [stream.failures for stream in streams if stream.failures]
    for number in range(1, RELOADS + 1):
        result = place.knap("plugins", "reload", "gateway", "--state", str(place.state))
        assert result.returncode == 0, result.stderr
        # HTTP is served at once at the same address.
        answer = post(place.endpoint, {"jsonrpc": "2.0", "id": number, "method": "tools/list"},
                      Authorization=f"Bearer {place.token}")
        assert answer[0] == 200
        # Each stream is there again, so that the next reload meets all.
        wait_for(lambda: all(stream.opened > number for stream in streams) or any(stream.failures for stream in streams),
                 f"the streams after reload {number}")
        assert not [stream.failures for stream in streams if stream.failures]
    for client in clients:
        client.close()
    for stream in streams:
        stream.stopping = True
    for client in clients:
        assert [answer for answer in client.answers if "error" in answer][:3] == []
        assert sorted(answer["id"] for answer in client.answers) == list(range(1, client.asked + 1))
        assert client.asked > RELOADS
    assert not [stream.failures for stream in streams if stream.failures]
    assert all(stream.ends == RELOADS for stream in streams), [stream.ends for stream in streams]
