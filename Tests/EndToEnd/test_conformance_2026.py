"""The official conformance suite's scenarios for 2026-07-28, replayed over both transports."""

import json
import socket

import pytest

from knap_host import wait_for
from mcp_wire import EVERYTHING, LISTS, MODERN, PREFIX, accepted, conformance_place, connect, sampled, table
from test_conformance_2025 import SHARED, TRANSPORTS, strangers_are_refused, three_at_once


@pytest.fixture(scope="module")
def place():
    with conformance_place() as place:
        yield place


@pytest.fixture(params=TRANSPORTS)
def client(place, request):
    with connect(place, request.param, MODERN) as client:
        yield client


@pytest.fixture
def web(place):
    with connect(place, "http", MODERN) as client:
        yield client


@pytest.mark.parametrize("scenario", SHARED)
def test_a_client_of_the_stateless_era_gets_what_the_suite_wants(client, scenario):
    SHARED[scenario](client)


def test_three_streams_at_once_carry_each_its_own_request(place):
    three_at_once(place, MODERN)


def test_a_page_of_a_stranger_gets_nothing(place):
    strangers_are_refused(place, MODERN)


# --- server-stateless: the envelope

VERSION, CAPABILITIES, INFO = f"{PREFIX}protocolVersion", f"{PREFIX}clientCapabilities", f"{PREFIX}clientInfo"


@pytest.mark.parametrize("missing", [[VERSION, CAPABILITIES, INFO], [VERSION], [CAPABILITIES]])
def test_a_request_without_version_or_capabilities_is_refused(web, missing):
    message = web.message("server/discover", id=101)
    for name in missing:
        del message["params"]["_meta"][name]
    if not message["params"]["_meta"]:
        del message["params"]["_meta"]
    answer = web.exchange(message, valid=False)
    assert (answer.status, answer.error["code"]) == (400, -32602)


def test_a_request_without_the_clients_name_is_served(client):
    message = client.message("server/discover")
    del message["params"]["_meta"][INFO]
    assert client.exchange(message).result["supportedVersions"] == [MODERN]


def test_discovery_is_complete_and_true_to_what_is_served(client):
    result = client.request("server/discover").result
    assert result["supportedVersions"] == [MODERN]
    server = result["_meta"][f"{PREFIX}serverInfo"]
    assert server["name"] and server["version"]
    for capability, methods in [("tools", ["tools/list"]), ("prompts", ["prompts/list"]),
                                ("resources", ["resources/list", "resources/templates/list"])]:
        assert capability in result["capabilities"]
        for method in methods:
            assert client.request(method).result
    assert "completions" in result["capabilities"]


def test_another_version_is_refused_with_those_that_there_are(client):
    supported = client.request("server/discover").result["supportedVersions"]
    answer = client.request("server/discover", meta={VERSION: "v999.0.0"}, headers={"MCP-Protocol-Version": "v999.0.0"}, id=301)
    assert answer.error["code"] == -32022
    assert answer.error["data"] == {"supported": supported, "requested": "v999.0.0"}
    assert answer.status in (None, 400)


METHODS_THAT_ARE_GONE = ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe",
                         "tasks/list", "tasks/result", "unknown/method"]


@pytest.mark.parametrize("method", METHODS_THAT_ARE_GONE)
def test_a_method_that_this_revision_does_not_have_is_not_found(client, method):
    answer = client.request(method, id=500)
    assert answer.error["code"] == -32601
    assert answer.status in (None, 404)


@pytest.mark.parametrize("id", [0, -1, 2**53 - 1, "", "a b", "ünïcödé"])
def test_an_error_carries_the_id_of_its_request(client, id):
    assert client.request("unknown/method", id=id).response["id"] == id


# --- server-stateless: HTTP's headers, and http-header-validation

HEADERS = [
    # what is wrong or right, method, params, headers, whether it is served
    ("another version", "tools/list", {}, {"MCP-Protocol-Version": "v999.0.0"}, False),
    ("no version", "tools/list", {}, {"MCP-Protocol-Version": None}, False),
    ("another method", "tools/list", {}, {"Mcp-Method": "prompts/list"}, False),
    ("no method", "tools/list", {}, {"Mcp-Method": None}, False),
    ("the method in capitals", "tools/list", {}, {"Mcp-Method": "TOOLS/LIST"}, False),
    ("a small header", "tools/list", {}, {"Mcp-Method": None, "mcp-method": "tools/list"}, True),
    ("a header in capitals", "tools/list", {}, {"Mcp-Method": None, "MCP-METHOD": "tools/list"}, True),
    ("another tool", "tools/call", {"name": "test_simple_text"}, {"Mcp-Name": "wrong_tool_name"}, False),
    ("no tool", "tools/call", {"name": "test_simple_text"}, {"Mcp-Name": None}, False),
    ("spaces around the tool", "tools/call", {"name": "test_simple_text"}, {"Mcp-Name": "  test_simple_text  "}, True),
    ("the tool in base64", "tools/call", {"name": "test_simple_text"}, {"Mcp-Name": "=?base64?dGVzdF9zaW1wbGVfdGV4dA==?="}, True),
    ("base64 without its padding", "tools/call", {"name": "test_simple_text"},
     {"Mcp-Name": "=?base64?dGVzdF9zaW1wbGVfdGV4dA?="}, False),
    ("another resource", "resources/read", {"uri": "test://static-text"}, {"Mcp-Name": "test://static-binary"}, False),
    ("no prompt", "prompts/get", {"name": "test_simple_prompt"}, {"Mcp-Name": None}, False),
]


@table("method, params, headers, is_served", HEADERS)
def test_headers_say_what_the_body_says(web, method, params, headers, is_served):
    answer = web.request(method, params, headers=headers)
    if is_served:
        assert answer.status == 200 and answer.result
    else:
        assert (answer.status, answer.error["code"]) == (400, -32020)


PARAMETERS = [
    # what is wrong or right, arguments, headers, whether it is served
    ("the same", {"region": "Hello"}, {"Mcp-Param-Region": "Hello"}, True),
    ("base64", {"region": "Hello"}, {"Mcp-Param-Region": "=?base64?SGVsbG8=?="}, True),
    ("base64 without its padding", {"region": "Hello"}, {"Mcp-Param-Region": "=?base64?SGVsbG8?="}, False),
    ("what is not base64", {"region": "Hello"}, {"Mcp-Param-Region": "=?base64?SGVs!!!bG8=?="}, False),
    ("no prefix, so as it is", {"region": "SGVsbG8="}, {"Mcp-Param-Region": "SGVsbG8="}, True),
    ("no suffix, so as it is", {"region": "=?base64?SGVsbG8="}, {"Mcp-Param-Region": "=?base64?SGVsbG8="}, True),
    ("another", {"region": "Hello"}, {"Mcp-Param-Region": "Bye"}, False),
    ("none", {"region": "Hello"}, {}, False),
    ("two that are the same", {"region": "Hello", "retries": 3}, {"Mcp-Param-Region": "Hello", "Mcp-Param-Retries": "3"}, True),
    ("a number written otherwise", {"region": "Hello", "retries": 3},
     {"Mcp-Param-Region": "Hello", "Mcp-Param-Retries": "3.0"}, True),
    ("another number", {"region": "Hello", "retries": 3}, {"Mcp-Param-Region": "Hello", "Mcp-Param-Retries": "4"}, False),
]


@table("arguments, headers, is_served", PARAMETERS)
def test_headers_of_parameters_say_what_the_arguments_say(web, arguments, headers, is_served):
    """http-custom-header-server-validation"""
    answer = web.call("test_header_params", arguments, headers=headers)
    if is_served:
        assert answer.status == 200 and answer.text.startswith(f"region={arguments['region']}")
    else:
        assert (answer.status, answer.error["code"]) == (400, -32020)


def test_there_are_no_sessions_and_no_streams_of_their_own(web):
    assert "mcp-session-id" not in web.request("server/discover", headers={"Mcp-Session-Id": "anything"}).headers
    for verb in ["GET", "DELETE"]:
        connection, response = web.transport.open(verb, headers={"MCP-Protocol-Version": MODERN})
        response.read()
        connection.close()
        assert response.status == 405


@pytest.mark.parametrize("body, code", [
    (b"{", -32700), (b"[]", -32600), (b"[1]", -32600), (b'"text"', -32600), (b'{"id": 1}', -32600)])
def test_what_is_no_message_is_a_bad_request(web, body, code):
    connection, response = web.transport.open("POST", body, {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list"})
    message = json.loads(response.read())
    connection.close()
    web.schema.received(message)
    assert (response.status, message["error"]["code"]) == (400, code)


# --- server-stateless: capabilities, streams and records

def test_a_tool_that_demands_a_capability_is_refused_to_clients_without_it(client):
    answer = client.call("test_missing_capability", {}, capabilities={}, id=401)
    assert (answer.error["code"], answer.error["data"]) == (-32021, {"requiredCapabilities": {"sampling": {}}})
    assert answer.status in (None, 400)
    assert client.call("test_missing_capability", {}, capabilities={"sampling": {}}).text


def test_the_stream_of_a_request_has_no_requests_to_the_client(client):
    answer = client.call("test_streaming_elicitation", {}, capabilities={"elicitation": {}}, meta={"progressToken": "stream"})
    assert [each["progress"] for each in answer.told("notifications/progress")] == [50]
    assert answer.questions == []
    assert answer.result["resultType"] == "input_required"


@pytest.mark.parametrize("level, heard", [
    (None, []), ("debug", ["debug", "debug", "info", "warning", "error"]), ("warning", ["warning", "error"]), ("critical", [])])
def test_records_come_only_where_the_request_names_their_level(client, level, heard):
    meta = {f"{PREFIX}logLevel": level} if level else None
    answer = client.call("test_logging_tool", {}, meta=meta)
    assert [each["level"] for each in answer.told("notifications/message")] == heard


# --- server-stateless: subscriptions

def test_a_subscription_is_acknowledged_first_and_marks_all_that_it_tells(client):
    with client.listening(toolsListChanged=True, resourceSubscriptions=["test://watched-resource"]) as listener:
        number = listener.request["id"]
        assert listener.acknowledged["method"] == "notifications/subscriptions/acknowledged"
        assert listener.acknowledged["params"] == {
            "_meta": {f"{PREFIX}subscriptionId": number},
            "notifications": {"toolsListChanged": True, "resourceSubscriptions": ["test://watched-resource"]}}
        for trigger, method, more in [
            ("test_trigger_tool_change", "notifications/tools/list_changed", {}),
            ("test_trigger_resource_change", "notifications/resources/updated", {"uri": "test://watched-resource"}),
            ("test_trigger_tool_change", "notifications/tools/list_changed", {}),
        ]:
            client.call(trigger, {})
            told = listener.next()
            assert told["method"] == method
            assert told["params"] == {"_meta": {f"{PREFIX}subscriptionId": number}, **more}


LIST_CHANGES = [
    # what is listened for, its notification, what triggers it, another change, which is triggered before
    ("toolsListChanged", "tools", "test_trigger_tool_change", "test_trigger_prompt_change"),
    ("promptsListChanged", "prompts", "test_trigger_prompt_change", "test_trigger_tool_change"),
    ("resourcesListChanged", "resources", "test_trigger_resource_list_change", "test_trigger_tool_change"),
]


@pytest.mark.parametrize("wanted, kind, trigger, other", LIST_CHANGES)
def test_a_subscriber_hears_of_the_changes_that_it_named_and_of_no_others(client, wanted, kind, trigger, other):
    with client.listening(**{wanted: True}) as listener:
        assert listener.acknowledged["params"]["notifications"] == {wanted: True}
        before = client.list(kind)
        for there in [False, True]:
            # Were the other change told, it would come first.
            client.call(other, {})
            client.call(trigger, {})
            assert listener.next()["method"] == f"notifications/{kind}/list_changed"
            assert (client.list(kind) == before) == there


def test_a_subscription_to_one_resource_says_nothing_of_others(client):
    with client.listening(resourceSubscriptions=["test://static-text"], toolsListChanged=True) as listener:
        client.call("test_trigger_resource_change", {})
        for _ in range(2):
            client.call("test_trigger_tool_change", {})
            assert listener.next()["method"] == "notifications/tools/list_changed"


def test_a_cancelled_subscription_says_nothing_more(place):
    with connect(place, "stdio", MODERN) as client:
        with client.listening(toolsListChanged=True) as first, client.listening(promptsListChanged=True) as second:
            client.notify("notifications/cancelled", {"requestId": first.request["id"]})
            for _ in range(2):
                client.call("test_trigger_tool_change", {})
                client.call("test_trigger_prompt_change", {})
                told = second.next()
                assert told["method"] == "notifications/prompts/list_changed"
                assert told["params"]["_meta"] == {f"{PREFIX}subscriptionId": second.request["id"]}


# --- sep-2164-resource-not-found, caching

@pytest.mark.parametrize("uri", ["test://nonexistent-resource-for-conformance-testing", "test://template/x/other", "nothing"])
def test_a_resource_that_there_is_not_is_an_error_that_names_it(client, uri):
    error = client.request("resources/read", {"uri": uri}).error
    assert (error["code"], error["data"]) == (-32602, {"uri": uri})


@pytest.mark.parametrize("method, params", [
    *((method, {}) for method in LISTS.values()), ("resources/read", {"uri": "test://static-text"}), ("server/discover", {})])
def test_what_may_be_kept_says_for_how_long_and_for_whom(client, method, params):
    result = client.request(method, params).result
    assert type(result["ttlMs"]) is int and result["ttlMs"] >= 0
    # All of it is for one who has the token.
    assert result["cacheScope"] == "private"


# --- input-required-result-*

def tool(name):
    return {"name": f"test_input_required_result_{name}", "arguments": {}}


ROUNDS = [
    # scenario, method, params, keys that each round asks with their methods, what the end says
    ("basic-elicitation", "tools/call", tool("elicitation"), [{"user_name": "elicitation/create"}], "Hello, Alice!"),
    ("basic-sampling", "tools/call", tool("sampling"), [{"capital_question": "sampling/createMessage"}], "Paris"),
    ("basic-list-roots", "tools/call", tool("list_roots"), [{"client_roots": "roots/list"}], "file:///test/root"),
    ("request-state", "tools/call", tool("request_state"), [{"confirm": "elicitation/create"}], "state-ok"),
    ("state-only", "tools/call", tool("state_only"), [{}], "state-ok"),
    ("multiple-input-requests", "tools/call", tool("multiple_inputs"),
     [{"user_name": "elicitation/create", "greeting": "sampling/createMessage", "client_roots": "roots/list"}],
     "Paris Alice, with 1 roots"),
    ("multi-round", "tools/call", tool("multi_round"), [{"step1": "elicitation/create"}, {"step2": "elicitation/create"}],
     "Alice likes blue."),
    ("non-tool-request", "prompts/get", {"name": "test_input_required_result_prompt"}, [{"user_context": "elicitation/create"}],
     "Consider this: a garden"),
    ("a resource", "resources/read", {"uri": "test://input-required"}, [{"user_name": "elicitation/create"}],
     "Written for Alice"),
    ("the handshake era's", "tools/call", {"name": "test_elicitation", "arguments": {"message": "Please"}},
     [{"response": "elicitation/create"}], "certainly"),
    ("a page", "tools/call", {"name": "test_elicitation_url", "arguments": {}}, [{"api_key": "elicitation/create"}],
     "action=accept"),
]


@table("method, params, asked, end", ROUNDS)
def test_a_result_says_what_is_needed_until_it_is_there(client, method, params, asked, end):
    *needs, done = client.rounds(method, params)
    for answer, keys in zip(needs, asked, strict=True):
        # input-required-result-result-type: said, and not to be guessed.
        assert answer.result["resultType"] == "input_required"
        requests = answer.result.get("inputRequests", {})
        assert {key: request["method"] for key, request in requests.items()} == keys
    assert done.result["resultType"] == "complete"
    assert end in json.dumps(done.result)
    states = [answer.result["requestState"] for answer in needs if "requestState" in answer.result]
    assert len(states) == len(set(states))


@pytest.mark.parametrize("responses", [
    {}, {"wrong_key": accepted(data="wrong")}, {"user_name": {}}, {"user_name": sampled("Alice")}], ids=json.dumps)
def test_a_missing_answer_is_asked_for_again(client, responses):
    """input-required-result-missing-input-response"""
    result = client.request("tools/call", {**tool("elicitation"), "inputResponses": responses}, valid=False).result
    assert result["resultType"] == "input_required" and list(result["inputRequests"]) == ["user_name"]


def test_an_answer_is_kept_in_the_state_and_only_the_rest_is_asked_again(client):
    params = tool("multiple_inputs")
    first = client.request("tools/call", params).result
    some = {"user_name": accepted(name="Alice"), "greeting": sampled("Good morning")}
    second = client.request("tools/call", {**params, "inputResponses": some, "requestState": first["requestState"]}).result
    assert list(second["inputRequests"]) == ["client_roots"]
    rest = client.respond(second["inputRequests"])
    last = client.request("tools/call", {**params, "inputResponses": rest, "requestState": second["requestState"]})
    assert last.text == "Good morning Alice, with 1 roots"


def test_answers_that_nobody_asked_for_are_passed_over(client):
    """input-required-result-ignore-extra-params"""
    responses = {"user_name": accepted(name="Alice"), "unknown_extra_key": accepted(foo="bar"),
                 "another_unexpected": accepted(baz=123)}
    assert client.request("tools/call", {**tool("elicitation"), "inputResponses": responses}).text == "Hello, Alice!"


@pytest.mark.parametrize("responses", [{"user_name": 12345}, {"user_name": None}, None, [], "user_name"], ids=json.dumps)
def test_what_is_no_answer_is_not_taken_for_one(client, responses):
    """input-required-result-validate-input"""
    answer = client.request("tools/call", {**tool("elicitation"), "inputResponses": responses}, valid=False)
    if isinstance(responses, dict):
        assert answer.result["resultType"] == "input_required"
    else:
        assert answer.error["code"] == -32602


def changed(state, place):
    """The state with another character at a place."""
    return state[:place] + ("B" if state[place] == "A" else "A") + state[place + 1:]


TAMPERED = {
    "something at the end": lambda state: state + "-TAMPERED",
    # The last one may hold bits that mean nothing.
    "another last character but one": lambda state: changed(state, len(state) - 2),
    "another first character": lambda state: changed(state, 0),
    "another character in the middle": lambda state: changed(state, len(state) // 2),
    "half of it": lambda state: state[:len(state) // 2],
    "nothing": lambda state: "",
    "the plain state": lambda state: "not to be changed",
    "twice": lambda state: state + state,
}


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED)
def test_a_state_that_was_tampered_with_is_refused(client, tamper):
    """input-required-result-tampered-state"""
    params = tool("tampered_state")
    state = client.request("tools/call", params).result["requestState"]
    assert "not to be changed" not in state
    params["inputResponses"] = {"confirm": accepted(ok=True)}
    assert client.request("tools/call", {**params, "requestState": tamper(state)}).error["code"] == -32602
    assert client.request("tools/call", {**params, "requestState": state}).text.startswith("integrity-ok")


def test_a_state_is_good_for_its_own_request_alone(client):
    state = client.request("tools/call", tool("request_state")).result["requestState"]
    for method, params in [
        ("tools/call", tool("tampered_state")),
        ("tools/call", {**tool("request_state"), "arguments": {"other": 1}}),
        ("prompts/get", {"name": "test_input_required_result_prompt"}),
        ("resources/read", {"uri": "test://input-required"}),
    ]:
        answer = client.request(method, {**params, "inputResponses": {"confirm": accepted(ok=True)}, "requestState": state})
        assert answer.error["code"] == -32602, (method, params)


@pytest.mark.parametrize("capabilities, asked", [
    ({"sampling": {}}, {"sampling/createMessage"}), ({"elicitation": {}}, {"elicitation/create"}),
    ({"elicitation": {"url": {}}, "roots": {}}, {"roots/list"}),
    (EVERYTHING, {"sampling/createMessage", "elicitation/create", "roots/list"}),
])
def test_only_what_the_client_can_do_is_asked(client, capabilities, asked):
    """input-required-result-capability-check"""
    requests = client.request("tools/call", tool("capabilities"), capabilities=capabilities).result["inputRequests"]
    assert {request["method"] for request in requests.values()} == asked


@pytest.mark.parametrize("name, capabilities, missing", [
    ("test_input_required_result_elicitation", {"sampling": {}}, {"elicitation": {}}),
    ("test_input_required_result_sampling", {}, {"sampling": {}}),
    ("test_input_required_result_list_roots", {}, {"roots": {}}),
    ("test_elicitation_url", {"elicitation": {}}, {"elicitation": {"url": {}}}),
    ("test_sampling_with_tools", {"sampling": {}}, {"sampling": {"tools": {}}}),
])
def test_a_tool_that_asks_what_the_client_cannot_be_asked_is_refused(client, name, capabilities, missing):
    answer = client.call(name, {}, capabilities=capabilities)
    assert (answer.error["code"], answer.error["data"]) == (-32021, {"requiredCapabilities": missing})
    assert answer.status in (None, 400)


@pytest.mark.parametrize("method", [*LISTS.values(), "server/discover"])
def test_lists_never_ask(client, method):
    """input-required-result-unsupported-methods"""
    answers = {"inputResponses": {"user_name": accepted(name="Alice")}}
    assert client.request(method, answers, valid=False).result["resultType"] == "complete"


def test_a_form_and_a_model_with_tools_are_asked_in_the_stateless_era_too(client):
    form = client.call("test_elicitation_sep1330_enums", {}).result["inputRequests"]["form"]
    assert set(form["params"]["requestedSchema"]["properties"]) == {
        "untitledSingle", "titledSingle", "legacyEnum", "untitledMulti", "titledMulti"}
    asked, answered, done = client.rounds("tools/call", {"name": "test_sampling_with_tools", "arguments": {}})
    assert asked.result["inputRequests"]["uses"]["params"]["toolChoice"] == {"mode": "auto"}
    assert len(answered.result["inputRequests"]["answer"]["params"]["messages"]) == 3
    assert done.text == "LLM response: Paris"


SLOW = {"name": "slow_compute", "arguments": {"seconds": 3600}}


def test_a_cancelled_request_over_stdio_gets_no_answer(place):
    with connect(place, "stdio", MODERN) as client:
        slow = client.message("tools/call", SLOW, meta={"progressToken": "slow"})
        client.transport.write(slow)
        # It is at work.
        assert client.transport.read()["params"]["progressToken"] == "slow"
        client.notify("notifications/cancelled", {"requestId": slow["id"], "reason": "enough"})
        # Answers go out in the order in which they are ready, and nothing but this one is.
        for _ in range(2):
            assert client.call("test_simple_text").text
        assert client.transport.lines.empty()


def test_closing_the_response_cancels_the_request_over_http(place, web):
    slow = web.message("tools/call", SLOW, meta={"progressToken": "slow"})
    connection, response = web.transport.open("POST", slow, web.transport.headers(slow, MODERN))
    assert b"event" in response.readline()
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()

    def in_flight():
        return place.call("host.plugin", name="conformance")["calls"]["in_flight"]

    # The feed stays open.
    wait_for(lambda: in_flight() == 1, "the end of the cancelled call")
