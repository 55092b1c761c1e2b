"""The official Python client and FastMCP's, over both transports and in both eras, with everything that a server has."""

import asyncio
import base64

import fastmcp
import mcp
import mcp_types
import pytest
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport

from knap_host import KNAP
from mcp_wire import conformance_place
from test_official_client import http, stdio

ERAS = {"legacy": "2025-11-25", "auto": "2026-07-28"}
LIBRARIES = ["official", "fastmcp"]
ASKED = {"username": "knap", "email": "knap@example.com"}


@pytest.fixture(scope="module")
def served():
    with conformance_place() as place:
        yield place


class Heard:
    """What the server said of its own accord during a test, and what it asked."""

    def __init__(self):
        self.logs, self.progress, self.messages, self.questions = [], [], [], []

    async def log(self, record):
        self.logs.append(record.data)

    async def step(self, progress, total, message):
        self.progress.append((progress, total))

    async def message(self, message):
        self.messages.append(getattr(message, "method", ""))

    async def elicit(self, context, params):
        self.questions.append(params.message)
        return mcp_types.ElicitResult(action="accept", content=ASKED)

    async def sample(self, context, params):
        self.questions.append(params.messages[0].content.text)
        return mcp_types.CreateMessageResult(
            role="assistant", model="none", content=mcp_types.TextContent(type="text", text="an answer of the model"))

    # The same for FastMCP, which has handlers of another form.
    async def elicit_there(self, message, response_type, params, context):
        self.questions.append(message)
        return fastmcp.client.elicitation.ElicitResult(action="accept", content=ASKED)

    async def sample_there(self, messages, params, context):
        self.questions.append(messages[0].content.text)
        return "an answer of the model"


def connected(library, transport, mode, place, heard):
    if library == "official":
        server = stdio(place) if transport == "stdio" else http(place, place.endpoint)
        return mcp.Client(
            server, mode=mode, logging_callback=heard.log, log_level="info", message_handler=heard.message,
            elicitation_callback=heard.elicit, sampling_callback=heard.sample)
    if transport == "stdio":
        server = StdioTransport(KNAP, place.relay_arguments(), env=place.environment, keep_alive=False)
    else:
        server = StreamableHttpTransport(place.endpoint, headers={"Authorization": f"Bearer {place.token}"})
    return fastmcp.Client(
        server, mode=mode, log_handler=heard.log, message_handler=heard.message,
        elicitation_handler=heard.elicit_there, sampling_handler=heard.sample_there)


@pytest.fixture(params=[f"{library}, {transport}, {mode}" for library in LIBRARIES for transport in ("stdio", "http") for mode in ERAS])
def client(request, served):
    """Runs a piece of work with a connected client and what it heard."""
    library, transport, mode = request.param.split(", ")

    def run(work):
        async def whole():
            heard = Heard()
            async with connected(library, transport, mode, served, heard) as connection:
                assert connection.protocol_version == ERAS[mode]
                await work(connection, heard)
        asyncio.run(asyncio.wait_for(whole(), 60))

    run.library, run.mode = library, mode
    return run


def listed(answer, name):
    """The official client answers a page, FastMCP's the list."""
    return answer if isinstance(answer, list) else getattr(answer, name)


def call(client, connection, name, arguments=None, **more):
    if client.library == "official":
        return connection.call_tool(name, arguments or {}, **({"progress_callback": more["step"]} if more else {}))
    given = {"progress_handler": more["step"]} if more else {}
    return connection.call_tool(name, arguments or {}, raise_on_error=False, **given)


def test_tools_answer_with_every_kind_of_content(client):
    async def work(connection, heard):
        names = {tool.name for tool in listed(await connection.list_tools(), "tools")}
        assert {"search_notes", "find_tools", "test_simple_text", "test_image_content"} <= names
        kinds = {
            "test_simple_text": ["text"], "test_image_content": ["image"], "test_audio_content": ["audio"],
            "test_embedded_resource": ["resource"], "test_multiple_content_types": ["text", "image", "resource"],
        }
        for name, wanted in kinds.items():
            result = await call(client, connection, name)
            assert not result.is_error and [block.type for block in result.content] == wanted, name
        failed = await call(client, connection, "test_error_handling")
        assert failed.is_error and failed.content[0].text

    client(work)


def test_progress_rises_to_its_end(client):
    async def work(connection, heard):
        await call(client, connection, "test_tool_with_progress", step=heard.step)
        assert heard.progress == [(0, 100), (50, 100), (100, 100)]

    client(work)


def test_log_messages_come_where_they_were_asked_for(client):
    async def work(connection, heard):
        if client.mode == "legacy":
            await connection.set_logging_level("info")
        elif client.library == "fastmcp":
            return  # It has no way to ask for them in the stateless era, where none come unasked.
        await call(client, connection, "test_tool_with_logging")
        assert len(heard.logs) == 3

    client(work)


def test_the_person_and_the_model_are_asked_in_the_way_of_each_era(client):
    async def work(connection, heard):
        result = await call(client, connection, "test_elicitation", {"message": "Who are you?"})
        assert not result.is_error and "knap@example.com" in result.content[0].text
        result = await call(client, connection, "test_sampling", {"prompt": "Say something."})
        assert not result.is_error and "an answer of the model" in result.content[0].text
        assert heard.questions == ["Who are you?", "Say something."]

    client(work)


def test_resources_prompts_and_completions(client):
    async def work(connection, heard):
        def contents(answer):
            return listed(answer, "contents")

        text = contents(await connection.read_resource("test://static-text"))[0]
        assert text.text
        data = contents(await connection.read_resource("test://static-binary"))[0]
        assert base64.b64decode(data.blob)
        made = contents(await connection.read_resource("test://template/123/data"))[0]
        assert "123" in made.text
        uris = {str(each.uri) for each in listed(await connection.list_resources(), "resources")}
        assert "test://static-text" in uris
        templates = {each.uri_template for each in listed(await connection.list_resource_templates(), "resource_templates")}
        assert {"test://template/{id}/data", "vault:///{+path}"} <= templates
        assert "test_simple_prompt" in {each.name for each in listed(await connection.list_prompts(), "prompts")}
        prompt = await connection.get_prompt("test_prompt_with_arguments", {"arg1": "one", "arg2": "two"})
        assert "one" in prompt.messages[0].content.text and "two" in prompt.messages[0].content.text
        reference = mcp_types.PromptReference(type="ref/prompt", name="test_prompt_with_arguments")
        completed = await connection.complete(reference, {"name": "arg1", "value": ""})
        assert getattr(completed, "completion", completed).values

    client(work)


def test_a_subscriber_hears_of_a_changed_resource(client):
    async def until(condition):
        while not condition():
            await asyncio.sleep(0.01)

    async def work(connection, heard):
        def has_come():
            return "notifications/resources/updated" in heard.messages

        if client.mode == "legacy":
            session = connection.session
            await session.subscribe_resource("test://watched-resource")
            await call(client, connection, "test_trigger_resource_change")
            await until(has_come)
        elif client.library == "official":
            async with connection.listen(resource_subscriptions=["test://watched-resource"]) as changes:
                await call(client, connection, "test_trigger_resource_change")
                async for change in changes:
                    assert "test://watched-resource" in str(change)
                    break

    client(work)
