"""Asks a host over REST, as programs do, without a client library."""

import http.client
import json
import socket
import urllib.parse

import plugins
from knap_host import wait_for
from test_workers import state_of

# The input of a method, with something of everything that can be in an address.
INPUT = {
    "type": "object", "additionalProperties": False, "properties": {
        "name": {"type": "string"}, "count": {"type": "integer", "minimum": 1}, "share": {"type": "number"},
        "loud": {"type": "boolean"}, "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}}, "ids": {"$ref": "#ids"},
        "place": {"type": "object", "properties": {"x": {"type": "number"}}}},
    "$defs": {"tag": {"type": "string"}, "ids": {"$anchor": "ids", "type": "array", "items": {"type": "integer"}}},
}


class Reply:
    def __init__(self, answer):
        self.status, self.headers, self.body = answer.status, answer.headers, answer.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def problem(self):
        """What went wrong, as RFC 9457 says it."""
        assert self.headers["Content-Type"] == "application/problem+json", (self.status, self.headers.items(), self.body)
        problem = self.json
        assert problem["status"] == self.status and problem["title"] and problem["detail"]
        return problem

    def __repr__(self):
        return f"{self.status} {dict(self.headers)} {self.body[:500]}"


class Site:
    """What a host serves over HTTP."""

    def __init__(self, place, endpoint):
        url = urllib.parse.urlsplit(endpoint)
        self.host, self.port, self.token = url.hostname, url.port, place.token
        self.url = f"http://{self.host}:{self.port}"

    def ask(self, method, path, body=None, headers={}):
        """`body` is sent as it is where it is bytes, else as JSON. A header that is None is not sent."""
        given = {"Authorization": f"Bearer {self.token}"}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            given["Content-Type"] = "application/json"
        given.update(headers)
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, path, body, {name: value for name, value in given.items() if value is not None})
            return Reply(connection.getresponse())
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.ask("GET", path, headers=headers)

    def post(self, path, body=None, **headers):
        return self.ask("POST", path, body, headers)

    def tool_over_mcp(self, name, arguments):
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
        answer = self.post("/mcp", call, Accept="application/json, text/event-stream")
        assert answer.status == 200, answer
        return answer.json["result"]

    def begin(self, method, path, body=None):
        """Sends a request and returns the socket, from which nothing was read."""
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {self.token}",
                 "Content-Type: application/json", f"Content-Length: {len(content)}", "", ""]
        connection = socket.create_connection((self.host, self.port), timeout=60)
        connection.sendall("\r\n".join(lines).encode() + content)
        return connection


def tool(name, method, **more):
    return {"kind": "tool", "name": name, "description": f"The tool {name}.", "method": f"test.web.{method}", **more}


def drop(place, *routes, tools=(), name="web", **options):
    """Builds a plugin of web.c with routes such as "GET /a/{b} method", and waits until the Gateway knows of it."""
    parts = [route.split() for route in routes]
    described = [{"verb": verb, "path": path, "method": f"test.{name}.{method}"} for verb, path, method in parts]
    contributes = {"http": described, "mcp": list(tools)}
    plugins.drop(place, plugins.build(place.root / "built", name, source="web.c", contributes=contributes, **options))
    version = options.get("version", "1.0.0")
    wait_for(lambda: state_of(place, name) == "active" and place.call("host.plugin", name=name)["version"] == version,
             f"version {version} of {name}")
    wanted = {f"{verb} {path}" for verb, path, _ in parts} | {each["name"] for each in tools}
    wait_for(lambda: wanted <= known(place), f"{wanted} at the Gateway")


def known(place):
    """The routes and tools that the Gateway serves, or has left out."""
    status, problems = place.call("gateway.status"), place.call("gateway.problems")["problems"]
    return ({each["route"] for each in status["routes"]} | {each["name"] for each in status["tools"]}
            | {each["item"].removeprefix("route ") for each in problems})
