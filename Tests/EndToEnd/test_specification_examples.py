"""The example messages of the specification: a server takes what its clients are shown to send, and makes itself what it is
shown to send. The table says how each example is covered; one that is not in it fails."""

import json

import pytest

from mcp_wire import LISTS, MODERN, PREFIX, SCHEMAS, conformance_place, connect

EXAMPLES = SCHEMAS / "examples"
FILES = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.glob("*/*.json")}
# What says which of several elements of a list one is.
NAMES = ("type", "name", "uri", "uriTemplate", "method", "const")


def load(name):
    return json.loads((EXAMPLES / name).read_text())


@pytest.fixture(scope="module")
def place():
    with conformance_place() as place:
        yield place


@pytest.fixture(params=["http", "stdio"])
def client(place, request):
    with connect(place, request.param, MODERN) as client:
        yield client


def resembles(own, example, without=()):
    """Whether a value has all the members that the example has, with values of the same types."""
    if isinstance(example, dict):
        return isinstance(own, dict) and all(
            name in own and resembles(own[name], value, without) for name, value in example.items() if name not in without)
    if isinstance(example, list):
        return isinstance(own, list) and all(any(is_such(mine, theirs, without) for mine in own) for theirs in example)
    number = (int, float)
    return type(own) is type(example) or type(own) in number and type(example) in number


def is_such(own, example, without):
    if not resembles(own, example, without):
        return False
    return not isinstance(example, dict) or all(own[name] == example[name] for name in NAMES if name in example)


# --- What a client sends. Each row takes a client and the example, and fails where the server does not take it.

def sends(client, example):
    """The example is a request, which is served."""
    assert client.exchange(example).result


def sends_params(method, **expected):
    """The example is the parameters of a request."""
    def check(client, example):
        message = {"jsonrpc": "2.0", "id": "params", "method": method, "params": example}
        response = client.exchange(message).response
        assert ("error" in response) == ("error" in expected), response
        assert response.get("error", {}).get("code") == expected.get("error")
    return check


def listens(client, example):
    with client.listening(example) as listener:
        assert listener.acknowledged["params"]["notifications"] == example["params"]["notifications"]


def declares(client, example):
    assert client.request("server/discover", capabilities=example).result


def notifies(client, example):
    client.notify(example["method"], example["params"])
    assert client.call("test_simple_text").text


def notifies_params(method):
    return lambda client, example: notifies(client, {"method": method, "params": example})


def answers(tool, key, contains, wrap=lambda example: example):
    """The example is what a client answers to a question; None for the key: what it answers to all of them."""
    def check(client, example):
        needs = client.call(tool, {}).result
        params = {"name": tool, "arguments": {}, "inputResponses": {key: wrap(example)} if key else example}
        if "requestState" in needs:
            params["requestState"] = needs["requestState"]
        result = client.request("tools/call", params).result
        assert not result.get("isError") and contains in json.dumps(result)
    return check


# --- What a server sends. Each row makes the server say it, checks it by the definition that the example is of, and
# compares it.

class Says:
    def __init__(self, make, equal=False, without=(), same_kind=False):
        self.make, self.equal, self.without, self.same_kind = make, equal, without, same_kind

    def __call__(self, client, example, kind):
        own = self.make(client)
        client.schema.check(kind, own)
        if self.equal:
            assert own == example
        elif not self.same_kind:
            assert resembles(own, example, self.without), f"{json.dumps(own)}\ndoes not resemble\n{json.dumps(example)}"


def replies(request):
    """The response to the example of a request."""
    return lambda client: client.exchange(load(request)).response


def result(method, params=None, **options):
    return lambda client: client.request(method, params, **options).result


def call(tool, arguments=None, **options):
    return lambda client: client.call(tool, arguments or {}, **options).result


def bare(make):
    """Without what this server says of itself in every result."""
    return lambda client: {name: value for name, value in make(client).items() if name != "_meta"}


def bare_response(make):
    def bared(client):
        response = make(client)
        return {**response, "result": bare(lambda _: response["result"])(client)}
    return bared


def error(method, params=None, **options):
    return lambda client: client.request(method, params, **options).error


def whole_error(method, params=None, **options):
    return lambda client: client.request(method, params, **options).response


def question(tool, key, arguments=None):
    return lambda client: client.call(tool, arguments or {}).result["inputRequests"][key]


def asked(tool, key, arguments=None):
    return lambda client: question(tool, key, arguments)(client)["params"]


def field(name):
    return lambda client: asked("test_elicitation_fields", "fields")(client)["requestedSchema"]["properties"][name]


def block(type):
    return lambda client: next(each for each in call("test_annotated_content")(client)["content"] if each["type"] == type)


def entry(kind, name):
    return lambda client: next(each for each in client.list(kind) if each["name"] == name)


def contents(uri):
    return lambda client: client.request("resources/read", {"uri": uri}).result["contents"][0]


def follow_up(client):
    """What the client's model is asked after it used a tool twice."""
    uses = load("CreateMessageResult/tool-use-response.json")
    params = {"name": "test_sampling_with_tools", "arguments": {}, "inputResponses": {"uses": uses}}
    return client.request("tools/call", params).result["inputRequests"]["answer"]["params"]


def progress(client):
    params = load("CallToolRequestParams/tool-call-params-with-progress-token.json")
    answer = client.exchange({"jsonrpc": "2.0", "id": "progress", "method": "tools/call", "params": params})
    notification, = answer.notifications
    return notification


def record(client):
    notification, = client.call("test_logging_tool", {}, meta={f"{PREFIX}logLevel": "error"}).notifications
    return notification


def told(trigger, **wanted):
    """What a subscription tells, which has the examples' id. The second change undoes the first."""
    def make(client):
        with client.listening(client.message("subscriptions/listen", {"notifications": wanted}, id="listen-1")) as listener:
            client.call(trigger, {})
            first = listener.next()
            client.call(trigger, {})
            assert listener.next() == first
            return first
    return make


def acknowledgement(client):
    with client.listening(load("SubscriptionsListenRequest/listen-for-list-changes.json")) as listener:
        return listener.acknowledged


def last_word(client):
    """The response that ends a subscription: its server ends, here because the Gateway is replaced."""
    place = client.transport.place
    with connect(place, "http", MODERN) as web:
        message = load("SubscriptionsListenRequest/listen-for-list-changes.json")
        with web.listening(message) as listener:
            assert place.knap("plugins", "reload", "gateway", "--state", str(place.state)).returncode == 0
            return listener.next()


def parse_error(client):
    with connect(client.transport.place, "http", MODERN) as web:
        connection, response = web.transport.open("POST", b"{", {"MCP-Protocol-Version": MODERN})
        message = json.loads(response.read())
        connection.close()
        return message["error"]


def header_mismatch(client):
    with connect(client.transport.place, "http", MODERN) as web:
        return web.call("test_simple_text", {}, headers={"Mcp-Name": "foo"}).response


def capabilities(client):
    return client.request("server/discover").result["capabilities"]


WEATHER = {"location": "New York"}
CODE = {"name": "code_review", "arguments": {"code": "def hello():\n    print('world')"}}
LANGUAGE = {"ref": {"type": "ref/prompt", "name": "code_review"}, "argument": {"name": "language", "value": "py"}}
FRAMEWORK = {**LANGUAGE, "argument": {"name": "framework", "value": "fla"}, "context": {"arguments": {"language": "python"}}}
MAIN = {"uri": "file:///project/src/main.rs"}
# Tools, prompts and templates are all on one page.
ONE_PAGE = ("nextCursor",)

TABLE = {
    # Content
    "TextContent/text-content.json": Says(block("text"), equal=True),
    "ImageContent/image-png-content-with-annotations.json": Says(block("image"), equal=True),
    "AudioContent/audio-wav-content.json": Says(block("audio"), equal=True),
    "ResourceLink/file-resource-link.json": Says(block("resource_link"), equal=True),
    "EmbeddedResource/embedded-file-resource-with-annotations.json": Says(block("resource"), equal=True),
    "BlobResourceContents/image-file-contents.json": Says(contents("file:///example.png"), equal=True),
    "TextResourceContents/text-file-contents.json": Says(contents("file:///example.txt"), equal=True),

    # Discovery
    "DiscoverRequest/server-discover-request.json": sends,
    "DiscoverResult/server-capabilities-discovery.json": Says(result("server/discover")),
    "DiscoverResultResponse/discover-result-response.json": Says(replies("DiscoverRequest/server-discover-request.json")),
    **{f"ServerCapabilities/{name}.json": Says(capabilities) for name in [
        "completions-minimum-baseline-support", "extensions-tasks", "logging-minimum-baseline-support",
        "prompts-list-changed-notifications", "prompts-minimum-baseline-support", "resources-all-notifications",
        "resources-list-changed-notifications-only", "resources-minimum-baseline-support",
        "resources-subscription-to-individual-resource-updates-only", "tools-list-changed-notifications",
        "tools-minimum-baseline-support"]},
    **{f"ClientCapabilities/{name}.json": declares for name in [
        "elicitation-form-and-url-mode-support", "elicitation-form-only-implicit", "extensions-ui-mime-types",
        "roots-minimum-baseline-support", "sampling-context-inclusion-support-deprecated",
        "sampling-minimum-baseline-support", "sampling-tool-use-support"]},

    # Tools
    "ListToolsRequest/list-tools-request.json": sends,
    "ListToolsResult/tools-list-with-cursor-and-ttl.json": Says(result("tools/list"), without=ONE_PAGE),
    "ListToolsResultResponse/list-tools-result-response.json":
        Says(replies("ListToolsRequest/list-tools-request.json"), without=ONE_PAGE),
    "Tool/with-default-2020-12-input-schema.json": Says(entry("tools", "calculate_sum"), equal=True),
    "Tool/with-no-parameters.json": Says(entry("tools", "get_current_time"), equal=True),
    "Tool/with-output-schema-for-structured-content.json": Says(entry("tools", "get_weather_data"), equal=True),
    # What clients refuse, the Gateway does not serve: an output that is no object, another dialect.
    "Tool/tool-with-array-output-schema.json": Says(entry("tools", "list_users"), without=("outputSchema",)),
    "Tool/with-explicit-draft-07-input-schema.json": Says(entry("tools", "calculate_sum"), without=("$schema",)),
    "Tool/tool-with-composition-input-schema.json": Says(entry("tools", "json_schema_2020_12_tool"), same_kind=True),
    "CallToolRequest/call-tool-request.json": sends,
    "CallToolRequestParams/get-weather-tool-call-params.json": sends_params("tools/call"),
    "CallToolRequestParams/tool-call-params-with-progress-token.json": sends_params("tools/call"),
    "CallToolResult/invalid-tool-input-error.json": Says(bare(call("book_flight")), equal=True),
    "CallToolResult/result-with-array-structured-content.json": Says(bare(call("list_users")), equal=True),
    "CallToolResult/result-with-structured-content.json": Says(call("get_weather_data", WEATHER)),
    "CallToolResult/result-with-unstructured-text.json": Says(bare(call("get_weather", WEATHER)), equal=True),
    "CallToolResultResponse/call-tool-result-response.json":
        Says(bare_response(replies("CallToolRequest/call-tool-request.json")), equal=True),

    # Prompts and completions
    "ListPromptsRequest/list-prompts-request.json": sends,
    "ListPromptsResult/prompts-list-with-cursor-and-ttl.json": Says(result("prompts/list"), without=ONE_PAGE),
    "ListPromptsResultResponse/list-prompts-result-response.json":
        Says(replies("ListPromptsRequest/list-prompts-request.json"), without=ONE_PAGE),
    "GetPromptRequest/get-prompt-request.json": sends,
    "GetPromptRequestParams/get-code-review-prompt.json": sends_params("prompts/get"),
    "GetPromptResult/code-review-prompt.json": Says(bare(result("prompts/get", CODE)), equal=True),
    "GetPromptResultResponse/get-prompt-result-response.json":
        Says(bare_response(replies("GetPromptRequest/get-prompt-request.json")), equal=True),
    "CompleteRequest/completion-request.json": sends,
    "CompleteRequestParams/prompt-argument-completion.json": sends_params("completion/complete"),
    "CompleteRequestParams/prompt-argument-completion-with-context.json": sends_params("completion/complete"),
    "CompleteResult/multiple-completion-values-with-more-available.json":
        Says(bare(result("completion/complete", LANGUAGE)), equal=True),
    "CompleteResult/single-completion-value.json": Says(bare(result("completion/complete", FRAMEWORK)), equal=True),
    "CompleteResultResponse/completion-result-response.json": Says(replies("CompleteRequest/completion-request.json")),

    # Resources
    "ListResourcesRequest/list-resources-request.json": sends,
    "ListResourcesResult/resources-list-with-cursor-and-ttl.json": Says(result("resources/list")),
    "ListResourcesResultResponse/list-resources-result-response.json":
        Says(replies("ListResourcesRequest/list-resources-request.json")),
    "PaginatedRequestParams/list-with-cursor.json": sends_params(LISTS["resources"], error=-32602),
    "Resource/file-resource-with-annotations.json": Says(entry("resources", "README.md"), equal=True),
    "ListResourceTemplatesRequest/list-resource-templates-request.json": sends,
    "ListResourceTemplatesResult/resource-templates-list-with-cursor-and-ttl.json":
        Says(result("resources/templates/list"), without=ONE_PAGE),
    "ListResourceTemplatesResultResponse/list-resource-templates-result-response.json":
        Says(replies("ListResourceTemplatesRequest/list-resource-templates-request.json")),
    "ReadResourceRequest/read-resource-request.json": sends,
    "ReadResourceResult/file-resource-contents.json": Says(result("resources/read", MAIN)),
    "ReadResourceResultResponse/read-resource-result-response.json":
        Says(replies("ReadResourceRequest/read-resource-request.json")),
    "ReadResourceResultResponse/read-resource-result-response-with-ttl.json":
        Says(replies("ReadResourceRequest/read-resource-request.json")),

    # What a server needs before it can answer, and what it is answered
    "InputRequests/elicitation-and-sampling-input-requests.json":
        Says(lambda client: call("test_example_inputs")(client)["inputRequests"]),
    "InputRequiredResult/input-required-result-with-elicitation-and-sampling-and-request-state.json":
        Says(call("test_example_inputs")),
    "InputRequiredResult/input-required-result-with-request-state-only.json":
        Says(call("test_input_required_result_state_only")),
    "InputResponses/elicitation-and-sampling-input-responses.json":
        answers("test_example_inputs", None, "octocat: The capital of France is Paris."),
    "ElicitRequest/elicitation-request.json": Says(question("test_example_inputs", "github_login")),
    "ElicitRequestFormParams/elicit-single-field.json": Says(asked("test_example_inputs", "github_login")),
    "ElicitRequestFormParams/elicit-multiple-fields.json": Says(asked("test_example_inputs", "github_login")),
    "ElicitRequestURLParams/elicit-sensitive-data.json": Says(asked("test_elicitation_url", "api_key"), equal=True),
    "ElicitResult/accept-url-mode-no-content.json": answers("test_elicitation_url", "api_key", "action=accept"),
    "ElicitResult/input-single-field.json": answers("test_input_required_result_elicitation", "user_name", "Hello, octocat!"),
    "ElicitResult/input-multiple-fields.json":
        answers("test_input_required_result_elicitation", "user_name", "Hello, Monalisa Octocat!"),
    "BooleanSchema/boolean-input-schema.json": Says(field("boolean"), equal=True),
    "NumberSchema/number-input-schema.json": Says(field("number"), equal=True),
    "StringSchema/email-input-schema.json": Says(field("string"), equal=True),
    "UntitledSingleSelectEnumSchema/color-select-schema.json": Says(field("untitledSingle"), equal=True),
    "TitledSingleSelectEnumSchema/titled-color-select-schema.json": Says(field("titledSingle"), equal=True),
    "UntitledMultiSelectEnumSchema/color-multi-select-schema.json": Says(field("untitledMulti"), equal=True),
    "TitledMultiSelectEnumSchema/titled-color-multi-select-schema.json": Says(field("titledMulti"), equal=True),
    "CreateMessageRequest/sampling-request.json": Says(question("test_sampling", "response", {"prompt": "What?"})),
    "CreateMessageRequestParams/basic-request.json": Says(asked("test_sampling", "response", {"prompt": "What?"})),
    "CreateMessageRequestParams/request-with-tools.json": Says(asked("test_sampling_with_tools", "uses"), equal=True),
    "CreateMessageRequestParams/follow-up-with-tool-results.json": Says(follow_up),
    "ModelPreferences/with-hints-and-priorities.json":
        Says(lambda client: asked("test_sampling", "response", {"prompt": "What?"})(client)["modelPreferences"], equal=True),
    "SamplingMessage/single-content-block.json":
        Says(lambda client: asked("test_input_required_result_sampling", "capital_question")(client)["messages"][0], equal=True),
    "SamplingMessage/multiple-content-blocks.json": Says(lambda client: follow_up(client)["messages"][2]),
    "ToolUseContent/get-weather-tool-use.json": Says(lambda client: follow_up(client)["messages"][1]["content"][0], equal=True),
    "ToolResultContent/get-weather-tool-result.json":
        Says(lambda client: follow_up(client)["messages"][2]["content"][0], equal=True),
    "CreateMessageResult/text-response.json": answers("test_input_required_result_sampling", "capital_question", "Paris"),
    "CreateMessageResult/final-response.json": answers("test_input_required_result_sampling", "capital_question", "umbrella"),
    "CreateMessageResult/tool-use-response.json": answers("test_sampling_with_tools", "uses", "tool_result"),
    # The specification shows it with an id, which a question inside a result has no use for.
    "ListRootsRequest/list-roots-request.json":
        Says(question("test_input_required_result_list_roots", "client_roots"), without=("id",)),
    "ListRootsResult/single-root-directory.json":
        answers("test_input_required_result_list_roots", "client_roots", "file:///home/user/projects/myproject"),
    "ListRootsResult/multiple-root-directories.json":
        answers("test_input_required_result_list_roots", "client_roots", "repos/frontend, file:///home/user/repos/backend"),
    "Root/project-directory.json": answers(
        "test_input_required_result_list_roots", "client_roots", "file:///home/user/projects/myproject",
        wrap=lambda example: {"roots": [example]}),

    # Notifications
    "CancelledNotification/user-requested-cancellation.json": notifies,
    "CancelledNotificationParams/user-requested-cancellation.json": notifies_params("notifications/cancelled"),
    "ProgressNotification/progress-message.json": Says(progress, equal=True),
    "ProgressNotificationParams/progress-message.json": Says(lambda client: progress(client)["params"], equal=True),
    # Plugins' records have no name of a logger, and fields of their own.
    "LoggingMessageNotification/log-database-connection-failed.json": Says(record, without=("logger", "data")),
    "LoggingMessageNotificationParams/log-database-connection-failed.json":
        Says(lambda client: record(client)["params"], without=("logger", "data")),
    "SubscriptionsListenRequest/listen-for-list-changes.json": listens,
    "SubscriptionsAcknowledgedNotification/listen-acknowledged.json": Says(acknowledgement, equal=True),
    "ToolListChangedNotification/tools-list-changed.json":
        Says(told("test_trigger_tool_change", toolsListChanged=True), equal=True),
    "PromptListChangedNotification/prompts-list-changed.json":
        Says(told("test_trigger_prompt_change", promptsListChanged=True), equal=True),
    "ResourceListChangedNotification/resources-list-changed.json":
        Says(told("test_trigger_resource_list_change", resourcesListChanged=True), equal=True),
    "ResourceUpdatedNotification/file-resource-updated-notification.json":
        Says(told("test_trigger_resource_change", resourceSubscriptions=["test://watched-resource"])),
    "ResourceUpdatedNotificationParams/file-resource-updated.json": Says(
        lambda client: told("test_trigger_resource_change", resourceSubscriptions=["test://watched-resource"])(client)["params"]),
    "SubscriptionsListenResult/listen-closed.json": Says(lambda client: last_word(client)["result"]),
    "SubscriptionsListenResultResponse/listen-closed-response.json": Says(last_word),

    # Errors
    "ParseError/invalid-json.json": Says(parse_error),
    "InvalidParamsError/invalid-cursor.json": Says(error("tools/list", {"cursor": "none"})),
    "InvalidParamsError/unknown-tool.json": Says(error("tools/call", {"name": "invalid_tool_name"})),
    "InvalidParamsError/unknown-prompt.json": Says(error("prompts/get", {"name": "invalid_prompt_name"})),
    # Of tools they are results, which the model reads.
    "InvalidParamsError/invalid-tool-arguments.json": Says(error("prompts/get", {"name": "code_review"})),
    "InternalError/unexpected-error.json": Says(error("tools/call", {"name": "protocol_error_job", "arguments": {}})),
    "MethodNotFoundError/prompts-not-supported.json": Says(error("prompts/unknown"), without=("data",)),
    "HeaderMismatchError/header-mismatch.json": Says(header_mismatch),
    "MissingRequiredClientCapabilityError/missing-elicitation-capability.json": Says(
        whole_error("tools/call", {"name": "test_streaming_elicitation", "arguments": {}}, capabilities={}, id=1)),
    "UnsupportedProtocolVersionError/unsupported-version.json": Says(whole_error(
        "tools/list", meta={f"{PREFIX}protocolVersion": "1900-01-01"}, headers={"MCP-Protocol-Version": "1900-01-01"}, id=1)),
}


@pytest.mark.parametrize("name", sorted(FILES | set(TABLE)))
def test_an_example_is_taken_or_made(client, name):
    assert name in TABLE, f"say in the table how {name} is covered"
    assert name in FILES, f"{name} is not among the examples any more"
    row, example = TABLE[name], load(name)
    if isinstance(row, Says):
        row(client, example, name.split("/")[0])
    else:
        row(client, example)
