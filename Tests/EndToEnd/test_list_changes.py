"""A plugin's file comes, changes and goes: every connected client is told once for each change, in both eras and over both
transports, and then lists what is there."""

import asyncio
import contextlib
import shutil

import pytest
from mcp import Client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

import plugins
from knap_host import wait_for
from mcp_wire import LEGACY, LIBRARY, MANIFEST, MODERN, connect
from test_official_client import stdio
from test_workers import info

CLIENTS = [("stdio", "legacy"), ("http", "legacy"), ("stdio", "auto"), ("http", "auto")]


def build(place, version, *tools):
    return plugins.build(place.root / f"built{version}", "news", version=version, contributes={"mcp": [
        {"kind": "tool", "name": name, "title": name, "description": f"{name} of {version}", "method": "test.news.echo"}
        for name in tools]})


def http(place, endpoint, opened):
    """A transport that says when its stream for what the server sends unasked is open."""
    async def note(response):
        if response.request.method == "GET" and response.status_code == 200:
            opened.set()

    client = create_mcp_http_client(headers={"Authorization": f"Bearer {place.token}"})
    client.event_hooks["response"].append(note)
    return streamable_http_client(endpoint, http_client=client)


class Told:
    """A connected client, and how often it was told that the tools changed."""

    def __init__(self, name, client):
        self.name, self.client, self.times = name, client, 0

    async def hear(self, message):
        if getattr(message, "method", "") == "notifications/tools/list_changed":
            self.times += 1

    async def listen(self, ready):
        async with self.client.listen(tools_list_changed=True) as subscription:
            ready.set()
            # Each event is heard as a message too, where none is left out for being like the one before.
            async for _ in subscription:
                pass

    async def tools(self):
        return {tool.name: tool.description for tool in (await self.client.list_tools()).tools}


@contextlib.asynccontextmanager
async def connected(place, endpoint):
    """One client of each kind, each waiting to be told."""
    async with contextlib.AsyncExitStack() as stack:
        clients, listening = [], []
        for transport, mode in CLIENTS:
            told = Told(f"{transport}, {mode}", None)
            streams = asyncio.Event()
            server = stdio(place) if transport == "stdio" else http(place, endpoint, opened=streams)
            told.client = await stack.enter_async_context(Client(server, mode=mode, message_handler=told.hear))
            if mode == "auto":
                ready = asyncio.Event()
                listening.append(asyncio.create_task(told.listen(ready)))
                await ready.wait()
            elif transport == "http":
                await streams.wait()
            clients.append(told)
        yield clients
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)


async def until(condition, what, seconds=60):
    for _ in range(seconds * 100):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{what()} after {seconds} s")


def test_every_client_is_told_once_of_each_change_and_lists_what_is_there(place):
    endpoint = place.serve()
    first = build(place, "1.0.0", "read_news")
    second = build(place, "2.0.0", "read_news", "write_news")
    third = build(place, "3.0.0", "read_news", "write_news")
    changes = [
        ("copying it", lambda: plugins.drop(place, first), {"read_news": "read_news of 1.0.0"}),
        ("replacing it", lambda: plugins.drop(place, second),
         {"read_news": "read_news of 2.0.0", "write_news": "write_news of 2.0.0"}),
        ("replacing it by other words", lambda: plugins.drop(place, third),
         {"read_news": "read_news of 3.0.0", "write_news": "write_news of 3.0.0"}),
        ("removing it", lambda: (place.state / "plugins/news.so").unlink(), {}),
        ("copying it again", lambda: plugins.drop(place, first), {"read_news": "read_news of 1.0.0"}),
    ]

    async def work():
        async with connected(place, endpoint) as clients:
            before = {told.name: await told.tools() for told in clients}
            for number, (what, change, wanted) in enumerate(changes, start=1):
                change()
                for told in clients:
                    await until(lambda: told.times >= number, lambda: f"{told.name} was told {told.times} times of {number}, {what}")
                    assert await told.tools() == {**before[told.name], **wanted}, (told.name, what)
                assert [told.times for told in clients] == [number] * len(clients), what
            # What does not change the list is not told: the last word is that of the next change.
            assert place.knap("plugins", "reload", "news", "--state", str(place.state)).returncode == 0
            assert info(place, "news")["state"] == "active"
            assert place.knap("plugins", "disable", "news", "--state", str(place.state)).returncode == 0
            for told in clients:
                await until(lambda: told.times > len(changes), lambda: f"{told.name} was not told of the end")
                assert await told.tools() == before[told.name]
            assert [told.times for told in clients] == [len(changes) + 1] * len(clients)

    asyncio.run(work())


@pytest.mark.parametrize("transport, revision", [("stdio", LEGACY), ("stdio", MODERN), ("http", LEGACY)])
def test_over_a_reload_of_the_gateway_clients_hear_of_the_lists_that_differ_alone(place, transport, revision):
    place.endpoint = place.serve()
    library = place.root / "conformance.so"
    shutil.copyfile(LIBRARY, library)
    plugins.embed(library, MANIFEST)
    plugins.drop(place, library)
    place.wait_until_indexed()
    wait_for(lambda: place.call("gateway.status")["prompts"] > 0, "the fixture's start")

    def has_prompt(client):
        return "test_dynamic_prompt" in [prompt["name"] for prompt in client.list("prompts")]

    with connect(place, transport, revision) as client, contextlib.ExitStack() as streams:
        def listen():
            return streams.enter_context(
                client.listening(toolsListChanged=True, promptsListChanged=True, resourcesListChanged=True))

        def told(listener):
            return listener.next()["method"].removeprefix("notifications/")

        listener = listen()
        client.call("test_trigger_prompt_change", {})
        assert told(listener) == "prompts/list_changed" and has_prompt(client)
        # What a plugin offers while it runs is offered again; nothing is told of it.
        assert place.knap("plugins", "reload", "gateway", "--state", str(place.state)).returncode == 0
        assert has_prompt(client)
        listener = listen() if transport == "http" else listener
        client.call("test_trigger_resource_list_change", {})
        assert told(listener) == "resources/list_changed"
        # Reloads it with less room for tools.
        smaller = place.knap("config", "set", "gateway.list_budget_bytes", "2048", "--state", str(place.state))
        assert smaller.returncode == 0, smaller.stderr
        listener = listen() if transport == "http" else listener
        assert told(listener) == "tools/list_changed" and has_prompt(client)
        client.call("test_trigger_prompt_change", {})
        assert told(listener) == "prompts/list_changed"
