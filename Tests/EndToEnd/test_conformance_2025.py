"""The official conformance suite's scenarios for 2025-11-25, replayed over both transports. Those that it also has for
2026-07-28 are in `SHARED`, by the suite's names."""

import base64
import concurrent.futures
import json
import re

import pytest

from mcp_wire import (
    EVERYTHING, LEGACY, MANIFEST, MODERN, OFFERS, Http, accepted, conformance_place, connect, events, offered, sampled, table)

TRANSPORTS = ["http", "stdio"]
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def place():
    with conformance_place() as place:
        yield place


@pytest.fixture(params=TRANSPORTS)
def client(place, request):
    with connect(place, request.param, LEGACY) as client:
        yield client


# --- What both sets have

SHARED = {}


def scenario(check):
    SHARED[check.__name__.replace("_", "-")] = check
    return check


def content(client, tool):
    result = client.call(tool, {}).result
    assert not result.get("isError"), result
    return result["content"]


@scenario
def tools_list(client):
    tools = client.list("tools")
    for tool in tools:
        assert re.fullmatch(r"[A-Za-z0-9_./-]{1,64}", tool["name"])
        assert tool["description"], tool
        assert tool["inputSchema"]["type"] == "object", tool
    names = [tool["name"] for tool in tools]
    assert len(names) == len(set(names))
    assert set(names) >= set(offered("tool"))


@scenario
def tools_call_simple_text(client):
    # Without arguments, which a tool that takes none may be called without.
    assert client.call("test_simple_text").result["content"] == [
        {"type": "text", "text": "This is a simple text response for testing."}]


@scenario
def tools_call_image(client):
    block, = content(client, "test_image_content")
    assert (block["type"], block["mimeType"]) == ("image", "image/png")
    assert base64.b64decode(block["data"], validate=True).startswith(PNG)


@scenario
def tools_call_audio(client):
    block, = content(client, "test_audio_content")
    assert (block["type"], block["mimeType"]) == ("audio", "audio/wav")
    assert base64.b64decode(block["data"], validate=True).startswith(b"RIFF")


@scenario
def tools_call_embedded_resource(client):
    block, = content(client, "test_embedded_resource")
    assert block == {"type": "resource", "resource": {
        "uri": "test://embedded-resource", "mimeType": "text/plain", "text": "This is an embedded resource content."}}


@scenario
def tools_call_mixed_content(client):
    assert [block["type"] for block in content(client, "test_multiple_content_types")] == ["text", "image", "resource"]


@scenario
def tools_call_error(client):
    result = client.call("test_error_handling", {}).result
    assert result["isError"] is True
    assert result["content"] == [{"type": "text", "text": "This tool intentionally returns an error for testing"}]


@scenario
def tools_call_with_progress(client):
    for token in ["progress-test-1", 17]:
        answer = client.call("test_tool_with_progress", {}, meta={"progressToken": token})
        assert answer.text == "Tool with progress executed successfully"
        told = answer.told("notifications/progress")
        assert [(each["progressToken"], each["progress"], each["total"]) for each in told] == [
            (token, done, 100) for done in (0, 50, 100)]


@scenario
def completion_complete(client):
    completion = client.request("completion/complete", {
        "ref": {"type": "ref/prompt", "name": "test_prompt_with_arguments"}, "argument": {"name": "arg1", "value": "teste"},
    }).result["completion"]
    assert completion == {"values": ["tested"], "total": 1, "hasMore": False}


@scenario
def resources_list(client):
    resources = client.list("resources")
    assert all(resource["uri"] and resource["name"] for resource in resources)
    uris = [resource["uri"] for resource in resources]
    assert len(uris) == len(set(uris))
    # The last two are what a method lists, on a page each.
    assert set(uris) >= {"test://static-text", "test://static-binary", "test://watched-resource",
                         "test://template/1/data", "test://template/2/data"}


@scenario
def resources_read_text(client):
    assert client.request("resources/read", {"uri": "test://static-text"}).result["contents"] == [
        {"uri": "test://static-text", "mimeType": "text/plain", "text": "This is the content of the static text resource."}]


@scenario
def resources_read_binary(client):
    contents, = client.request("resources/read", {"uri": "test://static-binary"}).result["contents"]
    assert (contents["uri"], contents["mimeType"]) == ("test://static-binary", "image/png")
    assert base64.b64decode(contents["blob"], validate=True).startswith(PNG)


@scenario
def resources_templates_read(client):
    templates = [template["uriTemplate"] for template in client.list("resourceTemplates")]
    assert "test://template/{id}/data" in templates
    contents, = client.request("resources/read", {"uri": "test://template/123/data"}).result["contents"]
    assert contents["uri"] == "test://template/123/data"
    assert json.loads(contents["text"]) == {"id": "123", "templateTest": True, "data": "Data for ID: 123"}


@scenario
def prompts_list(client):
    prompts = {prompt["name"]: prompt for prompt in client.list("prompts")}
    assert set(prompts) >= set(offered("prompt"))
    for name, offer in offered("prompt").items():
        assert prompts[name]["description"] == offer["description"]
        assert prompts[name].get("arguments") == offer.get("arguments")


def prompt(client, name, **arguments):
    """The contents of a prompt's messages, all of which are the user's."""
    params = {"name": name, **({"arguments": arguments} if arguments else {})}
    messages = client.request("prompts/get", params).result["messages"]
    assert {message["role"] for message in messages} == {"user"}
    return [message["content"] for message in messages]


@scenario
def prompts_get_simple(client):
    assert prompt(client, "test_simple_prompt") == [{"type": "text", "text": "This is a simple prompt for testing."}]


@scenario
def prompts_get_with_args(client):
    text, = prompt(client, "test_prompt_with_arguments", arg1="testValue1", arg2="testValue2")
    assert text == {"type": "text", "text": "Prompt with arguments: arg1='testValue1', arg2='testValue2'"}


@scenario
def prompts_get_embedded_resource(client):
    resource, text = prompt(client, "test_prompt_with_embedded_resource", resourceUri="test://example-resource")
    assert resource["type"] == "resource" and resource["resource"]["uri"] == "test://example-resource"
    assert text["type"] == "text"


@scenario
def prompts_get_with_image(client):
    image, text = prompt(client, "test_prompt_with_image")
    assert (image["type"], image["mimeType"], text["type"]) == ("image", "image/png", "text")
    assert base64.b64decode(image["data"], validate=True).startswith(PNG)


@scenario
def json_schema_2020_12(client):
    listed = next(tool for tool in client.list("tools") if tool["name"] == "json_schema_2020_12_tool")
    declared = next(method for method in MANIFEST["provides"][0]["methods"] if method["name"] == listed["name"])
    assert listed["inputSchema"] == declared["input"]
    # What the keywords say holds, too.
    assert "fit" in client.call(listed["name"], {"contactMethod": "phone", "phone": "1"}).text
    assert client.call(listed["name"], {"contactMethod": "phone", "email": "a@b"}).result["isError"]


@pytest.mark.parametrize("scenario", SHARED)
def test_a_client_of_the_handshake_era_gets_what_the_suite_wants(client, scenario):
    SHARED[scenario](client)


def test_every_offer_of_the_fixture_is_served_as_it_is(place):
    problems = place.call("gateway.problems")["problems"]
    assert [problem for problem in problems if problem["plugin"] == MANIFEST["name"]] == []
    assert len(OFFERS) > 60


# --- Several requests at once, and strangers: HTTP alone

def three_at_once(place, revision):
    """server-sse-multiple-streams: each of three calls hears of its own progress and of no other's."""
    with connect(place, "http", revision) as client, concurrent.futures.ThreadPoolExecutor(3) as threads:
        calls = {token: threads.submit(client.call, "test_tool_with_progress", {}, id=token, meta={"progressToken": token})
                 for token in ("a", "b", "c")}
        for token, call in calls.items():
            answer = call.result()
            assert answer.response["id"] == token
            assert answer.headers["content-type"] == "text/event-stream"
            assert [each["progressToken"] for each in answer.told("notifications/progress")] == [token] * 3


def strangers_are_refused(place, revision):
    """dns-rebinding-protection: a page of another origin, or one whose name was made to mean this machine, gets nothing."""
    with connect(place, "http", revision) as client:
        method = "server/discover" if revision == MODERN else "ping"
        port = client.transport.url.port
        for host, origin, good in [
            ("evil.example.com", "http://evil.example.com", False),
            (f"localhost:{port}", "http://evil.example.com", False),
            ("evil.example.com", f"http://localhost:{port}", False),
            (f"localhost:{port}", f"http://localhost:{port}", True),
            (f"127.0.0.1:{port}", None, True),
        ]:
            message = client.message(method)
            connection, response = client.transport.open(
                "POST", message, {**client.transport.headers(message, revision), "Host": host, "Origin": origin})
            response.read()
            connection.close()
            assert (200 if good else 400) <= response.status < (300 if good else 500), (host, origin, response.status)


def test_three_streams_at_once_carry_each_its_own_request(place):
    three_at_once(place, LEGACY)


def test_a_page_of_a_stranger_gets_nothing(place):
    strangers_are_refused(place, LEGACY)


# --- Sessions

def test_initialize_agrees_on_the_revision_and_says_what_there_is(client):
    """server-initialize"""
    answer = client.initialize()
    result = answer.result
    assert result["protocolVersion"] == LEGACY
    assert result["serverInfo"]["name"] and result["serverInfo"]["version"]
    assert result["capabilities"] == {
        "tools": {"listChanged": True}, "prompts": {"listChanged": True}, "completions": {}, "logging": {},
        "resources": {"subscribe": True, "listChanged": True}}
    if isinstance(client.transport, Http):
        assert re.fullmatch(r"[\x21-\x7e]+", answer.headers["mcp-session-id"])


@pytest.mark.parametrize("asked, agreed", [
    ("2024-11-05", "2024-11-05"), ("2025-03-26", "2025-03-26"), ("2025-06-18", "2025-06-18"),
    ("2030-01-01", LEGACY), (MODERN, LEGACY)])
def test_initialize_takes_an_older_revision_and_offers_its_own_for_one_that_it_does_not_know(place, asked, agreed):
    with connect(place, "http", LEGACY) as client:
        params = {"protocolVersion": asked, "capabilities": {}, "clientInfo": {"name": "wire", "version": "1"}}
        assert client.request("initialize", params).result["protocolVersion"] == agreed


def test_an_ended_or_unknown_session_is_not_found_and_a_client_without_one_is_served(place):
    """server-session-lifecycle"""
    with connect(place, "http", LEGACY) as client:
        session = client.transport.session
        assert client.request("ping").status == 200
        connection, response = client.transport.open("DELETE", headers={"MCP-Protocol-Version": LEGACY})
        response.read()
        connection.close()
        assert 200 <= response.status < 300
        for unknown in [session, "never-given", session[:-1] + ("A" if session[-1] != "A" else "B")]:
            client.transport.session = unknown
            assert client.request("tools/list").status == 404, unknown
        client.transport.session = None
        assert client.call("test_simple_text").text
        client.initialize()
        assert client.transport.session != session
        assert client.request("ping").status == 200


def test_a_stream_that_was_lost_goes_on_where_it_broke(place):
    """server-sse-polling: an event to go on after comes first, and what came after the break is there later."""
    with connect(place, "http", LEGACY) as client:
        params = {"name": "test_tool_with_progress", "arguments": {}}
        message = client.message("tools/call", params, meta={"progressToken": "lost"})
        connection, response = client.transport.open("POST", message, client.transport.headers(message, LEGACY))
        stream = events(response)
        prime = next(stream)
        assert prime["id"] and int(prime["retry"]) > 0 and not prime.get("data")
        heard = [next(stream)]
        assert json.loads(heard[0]["data"])["params"]["progress"] == 0
        connection.close()
        connection, response = client.transport.open(
            "GET", headers={"MCP-Protocol-Version": LEGACY, "Last-Event-ID": heard[0]["id"]})
        assert response.status == 200
        heard += [event for event in events(response) if event.get("data")]
        connection.close()
        messages = [json.loads(event["data"]) for event in heard]
        for each in messages:
            client.schema.received(each, message)
        assert [each["params"]["progress"] for each in messages[:-1]] == [0, 50, 100]
        assert messages[-1]["id"] == message["id"] and "result" in messages[-1]
        assert len({event["id"] for event in heard}) == len(heard)


# --- What the handshake era has alone

def test_ping_is_answered_with_nothing(client):
    """ping"""
    assert client.request("ping").result == {}


def test_three_records_are_logged_while_a_tool_works(client):
    """logging-set-level, tools-call-with-logging"""
    assert client.request("logging/setLevel", {"level": "debug"}).result == {}
    answer = client.call("test_tool_with_logging", {})
    assert answer.text == "Tool with logging executed successfully"
    assert [(each["level"], each["data"]) for each in answer.told("notifications/message")] == [
        ("info", "Tool execution started"), ("info", "Tool processing data"), ("info", "Tool execution completed")]


@pytest.mark.parametrize("level, heard", [
    ("debug", ["debug", "debug", "info", "warning", "error"]), ("info", ["info", "warning", "error"]),
    ("notice", ["warning", "error"]), ("error", ["error"]), ("emergency", [])])
def test_only_records_of_the_level_that_was_set_and_above_are_sent(client, level, heard):
    client.request("logging/setLevel", {"level": level})
    assert [each["level"] for each in client.call("test_logging_tool", {}).told("notifications/message")] == heard


def test_a_level_that_there_is_not_is_refused(client):
    assert client.request("logging/setLevel", {"level": "loud"}, valid=False).error["code"] == -32602


def test_a_subscriber_hears_of_its_resource_until_it_unsubscribes(client):
    """resources-subscribe, resources-unsubscribe"""
    uri = "test://watched-resource"
    with client.listening() as listener:
        assert client.request("resources/subscribe", {"uri": uri}).result == {}
        client.call("test_trigger_resource_change", {})
        assert listener.next() == {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri}}
        assert client.request("resources/unsubscribe", {"uri": uri}).result == {}
        client.call("test_trigger_resource_change", {})
        # Had the change been told, it would come before this.
        client.call("test_trigger_resource_list_change", {})
        assert listener.next()["method"] == "notifications/resources/list_changed"
        client.call("test_trigger_resource_list_change", {})
        assert listener.next()["method"] == "notifications/resources/list_changed"


@pytest.mark.parametrize("kind, trigger, offer", [
    ("tools", "test_trigger_tool_change", "test_dynamic_tool"), ("prompts", "test_trigger_prompt_change", "test_dynamic_prompt")])
def test_a_client_is_told_of_what_a_plugin_adds_and_takes_away_while_it_runs(client, kind, trigger, offer):
    with client.listening() as listener:
        for is_there in [True, False]:
            client.call(trigger, {})
            assert listener.next()["method"] == f"notifications/{kind}/list_changed"
            assert (offer in [each["name"] for each in client.list(kind)]) == is_there
            if kind == "tools":
                answer = client.call(offer, {})
                assert ("result" if is_there else "error") in answer.response


# --- Questions to the client, on the stream of the call

QUESTIONS = [
    # suite scenario or what is asked, tool, arguments, answers, methods of the questions, the result's text
    ("tools-call-sampling", "test_sampling", {"prompt": "Test prompt for sampling"},
     {"sampling/createMessage": lambda params: sampled("This is a test response from the client")},
     ["sampling/createMessage"], "LLM response: This is a test response from the client"),
    ("tools-call-elicitation", "test_elicitation", {"message": "Please provide your information"},
     {"elicitation/create": lambda params: accepted(response="certainly")},
     ["elicitation/create"], 'User response: action=accept, content={"response":"certainly"}'),
    ("a user who declines", "test_elicitation", {"message": "Please"},
     {"elicitation/create": lambda params: {"action": "decline"}}, ["elicitation/create"],
     "User response: action=decline, content={}"),
    ("a page", "test_elicitation_url", {}, {}, ["elicitation/create"], "Elicitation completed: action=accept, content={}"),
    ("roots", "test_input_required_result_list_roots", {}, {}, ["roots/list"], "Roots: file:///test/root"),
    ("one after the other", "test_input_required_result_multi_round", {}, {}, ["elicitation/create"] * 2, "Alice likes blue."),
    ("all at once", "test_input_required_result_multiple_inputs", {}, {},
     ["elicitation/create", "roots/list", "sampling/createMessage"], "Paris Alice, with 1 roots"),
    ("nothing, but to be called again", "test_input_required_result_state_only", {}, {}, [],
     "state-ok: the other half of the work is done"),
    ("its state back", "test_input_required_result_request_state", {}, {}, ["elicitation/create"],
     "state-ok: the state came back"),
]


@pytest.mark.parametrize("transport", TRANSPORTS)
@table("tool, arguments, answers, asked, text", QUESTIONS)
def test_a_tool_asks_the_client_and_goes_on_with_the_answer(place, transport, tool, arguments, answers, asked, text):
    with connect(place, transport, LEGACY, answers=answers) as client:
        answer = client.call(tool, arguments)
        assert sorted(question["method"] for question in answer.questions) == asked
        assert answer.text == text


def test_the_model_of_the_client_uses_a_tool_and_gets_its_results(place):
    uses = [{"type": "tool_use", "id": f"call_{city}", "name": "get_weather", "input": {"city": city}}
            for city in ("Paris", "London")]

    def sample(params):
        if len(params["messages"]) == 1:
            return {"role": "assistant", "content": uses, "model": "test-model", "stopReason": "toolUse"}
        results = [block["toolUseId"] for block in params["messages"][2]["content"]]
        return sampled(f"{len(results)} cities")

    with connect(place, "http", LEGACY, answers={"sampling/createMessage": sample}) as client:
        assert client.call("test_sampling_with_tools", {}).text == "LLM response: 2 cities"


def asked_fields(client, tool):
    answer = client.call(tool, {})
    assert answer.text.startswith("Elicitation completed: action=accept, content=")
    question, = answer.questions
    return question["params"]["requestedSchema"]["properties"]


def test_a_form_has_defaults_of_every_primitive_type(client):
    """elicitation-sep1034-defaults"""
    fields = asked_fields(client, "test_elicitation_sep1034_defaults")
    assert {name: (field["type"], field["default"]) for name, field in fields.items()} == {
        "name": ("string", "John Doe"), "age": ("integer", 30), "score": ("number", 95.5), "status": ("string", "active"),
        "verified": ("boolean", True)}
    assert fields["status"]["enum"] == ["active", "inactive", "pending"]


def test_a_form_has_choices_in_each_of_the_five_forms(client):
    """elicitation-sep1330-enums"""
    fields = asked_fields(client, "test_elicitation_sep1330_enums")
    titled = [("value1", "First"), ("value2", "Second"), ("value3", "Third")]
    options = ["option1", "option2", "option3"]

    def choices(word):
        return [{"const": value, "title": f"{title} {word}"} for value, title in titled]

    for name, kind, wanted, without in [
        ("untitledSingle", "string", {"enum": options}, {"oneOf", "enumNames"}),
        ("titledSingle", "string", {"oneOf": choices("Option")}, {"enum"}),
        ("legacyEnum", "string",
         {"enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]}, {"oneOf"}),
        ("untitledMulti", "array", {"items": {"type": "string", "enum": options}}, {"anyOf"}),
        ("titledMulti", "array", {"items": {"anyOf": choices("Choice")}}, {"enum"}),
    ]:
        assert fields[name]["type"] == kind
        assert {member: fields[name].get(member) for member in wanted} == wanted
        assert not without & (set(fields[name]) | set(fields[name].get("items", {})))


@pytest.mark.parametrize("method, params, read", [
    ("prompts/get", {"name": "test_input_required_result_prompt"},
     lambda result: result["messages"][0]["content"]["text"] == "Consider this: a garden"),
    ("resources/read", {"uri": "test://input-required"}, lambda result: result["contents"][0]["text"] == "Written for Alice"),
])
def test_a_prompt_and_a_resource_ask_too(client, method, params, read):
    answer = client.request(method, params)
    assert [question["method"] for question in answer.questions] == ["elicitation/create"]
    assert read(answer.result)


@pytest.mark.parametrize("capabilities, answers, why", [
    ({}, {}, "elicitation"),
    ({"sampling": {}}, {}, "elicitation"),
    (EVERYTHING, {"elicitation/create": lambda params: ValueError("The dialog is broken")}, "The dialog is broken"),
])
def test_a_client_that_cannot_be_asked_gets_a_failure_that_says_so(place, capabilities, answers, why):
    with connect(place, "http", LEGACY, capabilities=capabilities, answers=answers) as client:
        answer = client.call("test_elicitation", {"message": "Please"})
        assert answer.result["isError"] and why in answer.result["content"][0]["text"]
        assert bool(answer.questions) == bool(answers)


def test_a_tool_that_demands_a_capability_fails_for_clients_without_it(place):
    for capabilities, fails in [({}, True), ({"sampling": {}}, False)]:
        with connect(place, "stdio", LEGACY, capabilities=capabilities) as client:
            result = client.call("test_missing_capability", {}).result
            assert bool(result.get("isError")) == fails
            assert not fails or "sampling" in result["content"][0]["text"]
