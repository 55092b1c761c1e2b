"""What `tools/list` may cost a conversation, and how everything that it leaves out is reached all the same."""

import asyncio
import json

import pytest
from mcp import Client

import plugins
from knap_host import wait_for
from test_live_changes import command
from test_official_client import TOOLS, http, stdio, text
from test_workers import state_of

LONG = "Looks after the greenhouse and tells what it did. " * 8


def tool(name, method, description=LONG):
    return {"kind": "tool", "name": name, "description": description, "method": method}


def gardener(place, tools):
    """A plugin whose methods are contributed under these names."""
    path = plugins.drop(place, plugins.build(place.root / "built", "gardener", source="staying.c", contributes={"mcp": tools}))
    wait_for(lambda: state_of(place, "gardener") == "active", "the start of gardener")
    return path


def size(answer):
    """As it is on the wire."""
    return len(json.dumps(answer.model_dump(mode="json", by_alias=True, exclude_none=True), separators=(",", ":"), ensure_ascii=False).encode())


def client_of(place, transport, endpoint):
    return Client(http(place, endpoint) if transport == "http" else stdio(place))


async def until(condition):
    for _ in range(6000):
        if value := await condition():
            return value
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within a minute")


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_the_built_in_list_is_small_and_the_whole_keeps_to_its_setting(place, transport):
    endpoint = place.serve()

    async def work():
        async with client_of(place, transport, endpoint) as client:
            listed = await client.list_tools()
            assert {each.name for each in listed.tools} == TOOLS
            assert size(listed) < 8 * 1024
        gardener(place, [tool(f"tend_bed_{number}", "test.gardener.version") for number in range(100)])
        async with client_of(place, transport, endpoint) as client:
            listed = await until(lambda: several(client))
            names = {each.name for each in listed.tools}
            assert TOOLS < names and len(names) < 100
            assert 16 * 1024 < size(listed) < 24 * 1024
        for bytes_, least in ((12 * 1024, 8 * 1024), (48 * 1024, 24 * 1024)):
            result = command(place, "config", "set", "gateway.list_budget_bytes", str(bytes_))
            assert result.returncode == 0, result.stderr
            async with client_of(place, transport, endpoint_of(place)) as client:
                listed = await until(lambda: several(client))
                assert least < size(listed) < bytes_ and TOOLS < {each.name for each in listed.tools}

    async def several(client):
        listed = await client.list_tools()
        return listed if len(listed.tools) > len(TOOLS) else None

    asyncio.run(work())


def endpoint_of(place):
    return place.call("gateway.status")["http"]["mcp"]


def test_what_is_not_listed_is_found_and_used_and_called_by_name(place):
    endpoint = place.serve()
    gardener(place, [tool(f"tend_bed_{number}", "test.gardener.version") for number in range(100)]
             + [tool("prune_quinces", "test.gardener.version", "Prunes the quinces. " + LONG)])

    async def work():
        async with Client(http(place, endpoint)) as client:
            async def found():
                answer = json.loads(text(await client.call_tool("find_tools", {"query": "prune the quinces"})))
                return answer if answer["tools"] and answer["tools"][0]["name"] == "prune_quinces" else None

            answer = await until(found)
            assert "prune_quinces" not in {each.name for each in (await client.list_tools()).tools}
            assert answer["tools"][0]["inputSchema"]["type"] == "object"
            for called in (client.call_tool("use_tool", {"name": "prune_quinces", "arguments": {}}), client.call_tool("prune_quinces", {})):
                assert text(await called) == '"1.0.0"'
            unknown = await client.call_tool("use_tool", {"name": "prune_quince"})
            assert unknown.is_error and "prune_quinces" in unknown.content[0].text

    asyncio.run(work())


def test_a_foreign_duplicate_is_served_under_its_plugins_name_with_a_warning(place):
    endpoint = place.serve()
    gardener(place, [tool("read_note", "test.gardener.version", "Reads a plant label."), tool("water", "test.gardener.version")])

    async def work():
        async with Client(http(place, endpoint)) as client:
            async def names():
                listed = {each.name: each for each in (await client.list_tools()).tools}
                return listed if "gardener_read_note" in listed else None

            listed = await until(names)
            assert "label" in listed["gardener_read_note"].description and "note" in listed["read_note"].description
            assert "water" in listed
            assert text(await client.call_tool("gardener_read_note", {})) == '"1.0.0"'
            assert "# Ideas" in text(await client.call_tool("read_note", {"path": "Ideas.md"}))

    asyncio.run(work())
    [warning] = place.call("gateway.problems")["problems"]
    assert warning["severity"] == "warning" and warning["plugin"] == "gardener" and "read_note is taken" in warning["reason"]
