"""Speaks MCP without a client library, in both eras and over both transports, and holds every message, in both directions,
against the JSON schema of its revision."""

import contextlib
import functools
import http.client
import itertools
import json
import os
import queue
import shutil
import socket
import subprocess
import threading
import urllib.parse

import jsonschema
import pytest

import plugins
from knap_host import DATA, KNAP, Place, wait_for

LEGACY, MODERN = "2025-11-25", "2026-07-28"
PREFIX = "io.modelcontextprotocol/"
TASKS = PREFIX + "tasks"
SCHEMAS = DATA / "mcp-schema"
LIBRARY = plugins.ROOT / ".build/release/libconformance.so"
MANIFEST = json.loads((plugins.ROOT / "Tests/Fixtures/Plugins/Conformance/conformance.json").read_text())
OFFERS = MANIFEST["contributes"]["mcp"]
LISTS = {"tools": "tools/list", "prompts": "prompts/list", "resources": "resources/list",
         "resourceTemplates": "resources/templates/list"}
# Longer than anything takes here.
PATIENCE = 30


def offered(kind):
    """The fixture's own offers of a kind, by their names."""
    return {offer["name"]: offer for offer in OFFERS if offer["kind"] == kind}


def table(names, rows):
    """Runs a test once for each row, which begins with the row's own name."""
    return pytest.mark.parametrize(names, [row[1:] for row in rows], ids=[row[0] for row in rows])


# --- The host

@contextlib.contextmanager
def conformance_place():
    """A host that serves the fixture, all of whose tools are on the list."""
    if not SCHEMAS.exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{SCHEMAS} is missing; set KNAP_DATA")
    place = Place()
    try:
        place.environment["KNAP_GATEWAY_LIST_BUDGET_BYTES"] = str(256 * 1024)
        # The suite wants keywords at the top of a schema that the specification allows and some clients refuse.
        place.environment["KNAP_GATEWAY_STRICT_SCHEMAS"] = "false"
        place.endpoint = place.serve()
        library = place.root / "conformance.so"
        shutil.copyfile(LIBRARY, library)
        plugins.embed(library, MANIFEST)
        plugins.drop(place, library)
        with connect(place, "http", MODERN) as client:
            wait_for(lambda: "greet" in [tool["name"] for tool in client.list("tools")], "the fixture's start")
        yield place
    finally:
        place.close()


# --- Schemas

class Schema:
    """The JSON schema of one revision."""

    # Errors that have a definition of their own, which not every revision has.
    ERRORS = {-32020: "HeaderMismatchError", -32021: "MissingRequiredClientCapabilityError",
              -32022: "UnsupportedProtocolVersionError"}

    def __init__(self, revision):
        self.revision = revision
        self.definitions = json.loads((SCHEMAS / f"{revision}.json").read_text())["$defs"]
        self.validators = {}
        self.by_method = {}
        for name, definition in self.definitions.items():
            method = definition.get("properties", {}).get("method", {}).get("const")
            if method and name.endswith(("Request", "Notification")) and name != "ClientNotification":
                self.by_method[method] = name

    def violations(self, name, value):
        if name not in self.validators:
            self.validators[name] = jsonschema.Draft202012Validator(
                {"$defs": self.definitions, "$ref": f"#/$defs/{name}"})
        return [f"{error.json_path}: {error.message}"[:500] for error in self.validators[name].iter_errors(value)]

    def check(self, name, value):
        found = self.violations(name, value)
        assert not found, f"not a {name} of {self.revision}: {json.dumps(value)[:2000]}\n" + "\n".join(found)

    def sent(self, message):
        """Checks what a client sends that is not a response. What an extension adds is any request."""
        self.check(self.by_method.get(message["method"], "JSONRPCRequest" if "id" in message else "JSONRPCNotification"), message)

    def answered(self, question, result):
        """Checks what a client answers to the server."""
        self.check(self.result(question["method"], result), result)

    def received(self, message, request=None):
        """Checks what the server sends, as the answer to a request or unasked."""
        if "method" in message:
            if "id" in message:
                assert self.revision == LEGACY, f"the stateless era has no requests to clients: {message}"
                self.check("ServerRequest", message)
            elif message["method"] == "notifications/tasks":
                self.check("JSONRPCNotification", message)
            else:
                self.check("ServerNotification", message)
                self.check(self.by_method[message["method"]], message)
        elif "error" in message:
            # JSON-RPC gives an unreadable message's answer the id null, for which the schema has no place.
            whole = {name: value for name, value in message.items() if name != "id" or value is not None}
            self.check("JSONRPCErrorResponse", whole)
            name = self.ERRORS.get(message["error"]["code"])
            if name in self.definitions:
                self.check(name, message)
        else:
            self.check("JSONRPCResultResponse", message)
            self.check(self.result(request["method"], message["result"]), message["result"])

    def result(self, method, result):
        """The definition of the result of a request."""
        if result.get("resultType") == "input_required":
            return "InputRequiredResult"
        name = self.by_method.get(method, "").removesuffix("Request") + "Result"
        if result.get("resultType") == "task" or name not in self.definitions:
            return "Result"
        return name


@functools.cache
def schema(revision):
    return Schema(revision)


# --- What a client answers

EVERYTHING = {"elicitation": {"form": {}, "url": {}}, "sampling": {"tools": {}}, "roots": {}}
FIELDS = {"name": "Alice", "color": "blue", "ok": True, "confirm": True, "context": "a garden", "response": "certainly"}
ROOTS = {"roots": [{"uri": "file:///test/root", "name": "Test Root"}]}


def accepted(**content):
    return {"action": "accept", "content": content}


def sampled(text):
    return {"role": "assistant", "content": {"type": "text", "text": text}, "model": "test-model", "stopReason": "endTurn"}


def fill_in(params):
    """Accepts a form, with something in every field that it knows, and whatever a page wants."""
    if params.get("mode") == "url":
        return {"action": "accept"}
    return accepted(**{name: FIELDS[name] for name in params["requestedSchema"]["properties"] if name in FIELDS})


ANSWERS = {"elicitation/create": fill_in, "sampling/createMessage": lambda params: sampled("Paris"),
           "roots/list": lambda params: ROOTS}


# --- Transports

def events(response):
    """The server-sent events of an HTTP response, by the names of their fields."""
    event = {}
    for line in response:
        name, _, value = line.decode().rstrip("\r\n").partition(":")
        if name:
            event[name] = value.removeprefix(" ")
        elif not line.startswith(b":") and event:
            yield event
            event = {}


class Http:
    """One endpoint; every request has a connection of its own."""

    def __init__(self, place):
        self.place, self.url = place, urllib.parse.urlsplit(place.endpoint)
        self.session = None

    def open(self, verb, body=None, headers={}):
        """Sends a request and returns its connection and response; a header that is None is not sent."""
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=PATIENCE)
        given = {"Authorization": f"Bearer {self.place.token}", "Accept": "application/json, text/event-stream"}
        if body is not None:
            given["Content-Type"] = "application/json"
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        if self.session:
            given["Mcp-Session-Id"] = self.session
        given.update(headers)
        connection.request(verb, self.url.path, body, {name: value for name, value in given.items() if value is not None})
        return connection, connection.getresponse()

    def headers(self, message, revision):
        """Those that 2026-07-28 wants, and for the others the revision alone."""
        if message["method"] == "initialize" and revision == LEGACY:
            return {}
        headers = {"MCP-Protocol-Version": revision}
        if revision == MODERN:
            headers["Mcp-Method"] = message["method"]
            params = message.get("params", {})
            if message["method"] in ("tools/call", "prompts/get", "resources/read") or message["method"].startswith("tasks/"):
                name = params.get("name") or params.get("uri") or params.get("taskId")
                headers["Mcp-Name"] = name
        return headers

    def exchange(self, message, answer, revision, headers={}):
        """Sends a message and gives what comes back for it."""
        connection, response = self.open("POST", message, {**self.headers(message, revision), **headers})
        answer.status, answer.headers = response.status, {name.lower(): value for name, value in response.getheaders()}
        try:
            if answer.headers.get("content-type") == "text/event-stream":
                for event in events(response):
                    if event.get("data"):
                        yield json.loads(event["data"])
            elif body := response.read():
                yield json.loads(body)
        finally:
            connection.close()

    def tell(self, message, revision):
        """Sends what gets no answer."""
        connection, response = self.open("POST", message, {"MCP-Protocol-Version": revision})
        response.read()
        connection.close()
        assert response.status == 202, (response.status, message)

    def close(self):
        pass


class Stdio:
    """One `knap mcp`."""

    def __init__(self, place):
        self.place = place
        self.process = subprocess.Popen(
            [KNAP, *place.relay_arguments()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=place.environment)
        place.processes.append(self.process)
        self.lines = queue.Queue()
        threading.Thread(target=lambda: [self.lines.put(line) for line in self.process.stdout], daemon=True).start()

    def write(self, message):
        self.process.stdin.write((message if isinstance(message, bytes) else json.dumps(message).encode()) + b"\n")
        self.process.stdin.flush()

    def read(self):
        return json.loads(self.lines.get(timeout=PATIENCE))

    def exchange(self, message, answer, revision, headers={}):
        self.write(message)
        while True:
            come = self.read()
            yield come
            if "method" not in come and come["id"] == message["id"]:
                return

    def tell(self, message, revision):
        self.write(message)

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(PATIENCE) == 0


# --- Clients

class Answer:
    """What came for one request: the response, and what the server said and asked before."""

    def __init__(self):
        self.status, self.headers = None, {}
        self.notifications, self.questions, self.response = [], [], None

    @property
    def result(self):
        assert self.response and "result" in self.response, self.response
        return self.response["result"]

    @property
    def error(self):
        assert self.response and "error" in self.response, self.response
        return self.response["error"]

    @property
    def text(self):
        """The text of a tool's result that did not fail."""
        assert not self.result.get("isError"), self.result
        return "\n".join(block["text"] for block in self.result["content"] if block["type"] == "text")

    def told(self, method):
        return [each["params"] for each in self.notifications if each["method"] == method]


class Client:
    """A client of one revision over one transport."""

    def __init__(self, transport, revision, capabilities, answers):
        self.transport, self.revision, self.capabilities = transport, revision, capabilities
        self.schema = schema(revision)
        self.answers = {**ANSWERS, **answers}
        self.numbers = itertools.count(1)
        # What came unasked on a stream that others share.
        self.unasked = []

    def message(self, method, params=None, *, id=None, meta=None, capabilities=None):
        """A request as this revision writes it."""
        message = {"jsonrpc": "2.0", "id": next(self.numbers) if id is None else id, "method": method}
        if self.revision == MODERN:
            meta = {f"{PREFIX}protocolVersion": MODERN, f"{PREFIX}clientInfo": {"name": "wire", "version": "1"},
                    f"{PREFIX}clientCapabilities": self.capabilities if capabilities is None else capabilities, **(meta or {})}
        if meta:
            params = {**(params or {}), "_meta": meta}
        if params is not None:
            message["params"] = params
        return message

    def request(self, method, params=None, *, headers={}, valid=True, **options):
        return self.exchange(self.message(method, params, **options), headers=headers, valid=valid)

    def exchange(self, message, *, headers={}, valid=True):
        """Sends a request as it is and takes everything up to its response; answers what the server asks meanwhile."""
        if valid:
            self.schema.sent(message)
        answer = Answer()
        for come in self.transport.exchange(message, answer, self.revision, headers):
            self.schema.received(come, message)
            if "method" not in come:
                answer.response = come
            elif "id" in come:
                answer.questions.append(come)
                self.reply(come)
            elif come["method"] in ("notifications/progress", "notifications/message"):
                answer.notifications.append(come)
            else:
                self.unasked.append(come)
        assert answer.response is None or answer.response["id"] == message["id"], answer.response
        return answer

    def reply(self, question):
        """Answers a question of the server's; an answer that is an exception refuses it."""
        result = self.answers[question["method"]](question["params"] if "params" in question else {})
        if isinstance(result, Exception):
            outcome = {"error": {"code": -1, "message": str(result)}}
        else:
            self.schema.answered(question, result)
            outcome = {"result": result}
        self.transport.tell({"jsonrpc": "2.0", "id": question["id"], **outcome}, self.revision)

    def notify(self, method, params=None):
        message = {"jsonrpc": "2.0", "method": method, **({"params": params} if params else {})}
        self.schema.sent(message)
        self.transport.tell(message, self.revision)

    def initialize(self):
        answer = self.request("initialize", {
            "protocolVersion": self.revision, "capabilities": self.capabilities, "clientInfo": {"name": "wire", "version": "1"}})
        if isinstance(self.transport, Http):
            self.transport.session = answer.headers["mcp-session-id"]
        self.notify("notifications/initialized")
        return answer

    def call(self, tool, arguments=None, responses=None, **options):
        params = {"name": tool, "arguments": arguments, "inputResponses": responses}
        return self.request("tools/call", {name: value for name, value in params.items() if value is not None}, **options)

    def list(self, kind):
        """All pages of a list."""
        entries, params = [], {}
        while params is not None:
            result = self.request(LISTS[kind], params).result
            entries += result[kind]
            params = {"cursor": result["nextCursor"]} if "nextCursor" in result else None
        return entries

    def respond(self, requests):
        """The answers to the questions in a result."""
        return {key: self.answers[each["method"]](each.get("params", {})) for key, each in requests.items()}

    def rounds(self, method, params, **options):
        """A request of the stateless era until it is complete: the answer of every round."""
        answers = [self.request(method, params, **options)]
        while (result := answers[-1].result)["resultType"] == "input_required":
            again = dict(params)
            if "inputRequests" in result:
                again["inputResponses"] = self.respond(result["inputRequests"])
            if "requestState" in result:
                again["requestState"] = result["requestState"]
            answers.append(self.request(method, again, **options))
        return answers

    @contextlib.contextmanager
    def listening(self, message=None, **wanted):
        """Hears what comes unasked; in the stateless era of what is wanted alone, by the filter's names, or what the message
        says."""
        if self.revision == MODERN:
            message = message or self.message("subscriptions/listen", {"notifications": wanted})
            self.schema.sent(message)
        if isinstance(self.transport, Stdio):
            if message:
                self.transport.write(message)
            yield Listener(self, message, lambda: self.unasked.pop(0) if self.unasked else self.transport.read())
            return
        if message:
            connection, response = self.transport.open("POST", message, self.transport.headers(message, self.revision))
        else:
            connection, response = self.transport.open("GET", None, {"MCP-Protocol-Version": self.revision})
        assert response.status == 200, (response.status, response.read())
        come = queue.Queue()

        def read():
            # Ends when the connection is closed, here or there.
            with contextlib.suppress(OSError, ValueError, http.client.HTTPException, AttributeError):
                for event in events(response):
                    if event.get("data"):
                        come.put(json.loads(event["data"]))
            come.put(None)

        threading.Thread(target=read, daemon=True).start()
        try:
            yield Listener(self, message, lambda: come.get(timeout=PATIENCE))
        finally:
            # Wakes the thread that reads; closing alone would not.
            with contextlib.suppress(OSError, AttributeError):
                connection.sock.shutdown(socket.SHUT_RDWR)
            connection.close()


class Listener:
    """What a client hears unasked."""

    def __init__(self, client, request, read):
        self.client, self.request, self.read = client, request, read
        # In the stateless era what will be told is said first.
        self.acknowledged = self.next() if request else None

    def next(self):
        message = self.read()
        assert message is not None, "the stream ended"
        self.client.schema.received(message, self.request)
        return message


@contextlib.contextmanager
def connect(place, transport, revision, capabilities=EVERYTHING, answers={}):
    """A client that has introduced itself where its revision wants that."""
    client = Client({"http": Http, "stdio": Stdio}[transport](place), revision, capabilities, answers)
    try:
        if revision == LEGACY:
            client.initialize()
        yield client
    finally:
        client.transport.close()
