"""Callers that never stop: each has a connection to the host's control socket and calls as fast as it is answered."""

import json
import socket
import threading
import time

from knap_host import wait_for


class Connection:
    """One connection to a host's control socket: one call after the other."""

    def __init__(self, place):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(60)
        self.socket.connect(str(place.state / "control.sock"))
        self.answers = self.socket.makefile("rb")

    def send(self, method, arguments=None, deadline_ms=None):
        request = {"call": method, "input": arguments, "deadline_ms": deadline_ms}
        self.socket.sendall(json.dumps({key: value for key, value in request.items() if value is not None}).encode() + b"\n")

    def receive(self):
        """The answer as the host gives it: `status` is zero where the call went well."""
        while True:
            line = self.answers.readline()
            if not line:
                return {"status": -1, "message": "the host closed the connection"}
            message = json.loads(line)
            if "status" in message:
                return message

    def call(self, method, arguments=None, deadline_ms=None):
        self.send(method, arguments, deadline_ms)
        return self.receive()

    def close(self):
        self.answers.close()
        self.socket.close()


class Callers:
    """Some that call one method until they are told to stop, and what they were answered."""

    def __init__(self, place, method, count=1, arguments=None):
        self.connections = [Connection(place) for _ in range(count)]
        self.method, self.arguments, self.results, self.failures, self.stopping = method, arguments, [], [], False
        self.longest = 0.0
        self.threads = [threading.Thread(target=self.run, args=[each], daemon=True) for each in self.connections]

    def run(self, connection):
        while not self.stopping:
            began = time.monotonic()
            try:
                answer = connection.call(self.method, self.arguments)
            except OSError as error:
                answer = {"status": -1, "message": f"no answer: {error}"}
            self.longest = max(self.longest, time.monotonic() - began)
            if answer["status"] == 0:
                self.results.append(answer["result"])
            else:
                self.failures.append(answer)
                if answer["status"] < 0:
                    return

    def wait_for_more(self, count):
        """Until so many were answered from now on, or one failed."""
        before = len(self.results)
        wait_for(lambda: self.failures or len(self.results) >= before + count, f"{count} answers to {self.method}")
        assert not self.failures, self.failures[:3]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *unused):
        self.stopping = True
        for thread in self.threads:
            thread.join()
        for connection in self.connections:
            connection.close()


def carry_out(connection, change, **arguments):
    """Has the host do something to a plugin and waits for the end: its message, or the reason why not."""
    begun = connection.call(f"host.{change}", arguments)
    assert begun["status"] == 0, begun
    ended = connection.call("host.operation", {"operation": begun["result"]["operation"], "wait": True})
    assert ended["status"] == 0, ended
    return ended["result"]["state"] == "done", ended["result"]["message"]
