"""The official Python client, in both eras and over both transports, on real vaults."""

import asyncio
import json
import signal

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

from knap_host import KNAP

TOOLS = {
    "search_notes", "read_note", "list_notes", "write_note", "edit_note", "move_note", "delete_note", "note_links",
    "list_tags", "query_notes", "history", "undo", "find_tools", "use_tool",
}


def stdio(place):
    return StdioServerParameters(command=KNAP, args=place.relay_arguments(), env=place.environment)


def http(place, endpoint, token=None):
    client = create_mcp_http_client(headers={"Authorization": f"Bearer {token or place.token}"})
    return streamable_http_client(endpoint, http_client=client)


def text(result):
    assert not result.is_error, result.content
    return result.content[0].text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_lists_searches_reads_and_edits_a_real_vault(real_place, mode, transport):
    place = real_place
    server = stdio(place) if transport == "stdio" else http(place, place.serve())

    async def work():
        async with Client(server, mode=mode) as client:
            tools = (await client.list_tools()).tools
            assert {tool.name for tool in tools} >= TOOLS
            place.wait_until_indexed()
            notes = json.loads(text(await client.call_tool("list_notes", {"limit": 1000})))
            on_disk = [p for p in place.vault.rglob("*.md") if not any(part.startswith(".") for part in p.relative_to(place.vault).parts)]
            assert notes["total"] == len(on_disk)
            found = json.loads(text(await client.call_tool("search_notes", {"query": "recurring tasks"})))
            assert found["total"] > 0
            path = found["notes"][0]["path"]
            assert text(await client.call_tool("read_note", {"path": path, "limit": 100000})) == (place.vault / path).read_text()
            await client.call_tool("write_note", {"path": "Knap/New.md", "content": f"See [[{path[:-3]}]]. quokka"})
            found = json.loads(text(await client.call_tool("search_notes", {"query": "quokka"})))
            assert [note["path"] for note in found["notes"]] == ["Knap/New.md"]
            text(await client.call_tool("edit_note", {"path": "Knap/New", "find": "quokka", "content": "wombat"}))
            assert (place.vault / "Knap/New.md").read_text().endswith("wombat")
            links = json.loads(text(await client.call_tool("note_links", {"path": path})))
            assert "Knap/New.md" in [link["path"] for link in links["backlinks"]]
            moved = json.loads(text(await client.call_tool("move_note", {"path": path, "to": "Elsewhere/Moved.md"})))
            assert "Knap/New.md" in moved["updated"]
            assert "Moved" in (place.vault / "Knap/New.md").read_text()
            deleted = json.loads(text(await client.call_tool("delete_note", {"path": "Knap/New.md"})))
            assert (place.vault / deleted["trashed"]).exists()

    asyncio.run(work())


def test_a_mistake_is_answered_with_what_is_allowed_and_what_was_meant(place):
    async def work():
        async with Client(stdio(place)) as client:
            result = await client.call_tool("read_note", {"path": "Garden/Tomatos.md"})
            assert result.is_error
            assert "did you mean 'Garden/Tomatoes.md'" in result.content[0].text
            result = await client.call_tool("search_notes", {"query": "x", "limit": 0})
            assert result.is_error
            assert "limit must be between 1 and 100, not 0" in result.content[0].text
            result = await client.call_tool("write_note", {"path": "../out.md", "content": "x"})
            assert result.is_error
            assert "climbs out of the vault" in result.content[0].text
            assert not (place.vault.parent / "out.md").exists()

    asyncio.run(work())


def test_find_tools_and_use_tool_reach_every_tool(place):
    async def work():
        async with Client(stdio(place)) as client:
            found = text(await client.call_tool("find_tools", {"query": "tags"}))
            assert "list_tags" in found
            used = text(await client.call_tool("use_tool", {"name": "list_tags", "arguments": {}}))
            assert "garden" in used

    asyncio.run(work())


def test_notes_are_resources(place):
    async def work():
        async with Client(stdio(place)) as client:
            templates = (await client.list_resource_templates()).resource_templates
            assert [template.uri_template for template in templates] == ["vault:///{+path}", "vault://{vault}/{+path}"]
            read = await client.read_resource("vault:///Garden/Soil.md")
            assert read.contents[0].text == (place.vault / "Garden/Soil.md").read_text()

    asyncio.run(work())


def test_a_change_made_outside_is_seen_by_the_client(place):
    async def work():
        async with Client(stdio(place)) as client:
            await client.call_tool("list_notes", {})
            (place.vault / "Fresh.md").write_text("A platypus came by.")
            for _ in range(500):
                found = json.loads(text(await client.call_tool("search_notes", {"query": "platypus"})))
                if found["total"] == 1:
                    return
            raise AssertionError("the note was not found")

    asyncio.run(work())


def test_three_stdio_clients_and_a_server_share_one_vault_and_one_may_be_killed(place):
    endpoint = place.serve()

    async def work():
        async with Client(http(place, endpoint)) as web, Client(stdio(place)) as first, Client(stdio(place)) as second:
            doomed = await asyncio.create_subprocess_exec(
                KNAP, *place.relay_arguments(), stdin=-1, stdout=-1, env=place.environment
            )
            hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
                "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "doomed", "version": "1"}}}
            doomed.stdin.write(json.dumps(hello).encode() + b"\n")
            assert json.loads(await doomed.stdout.readline())["id"] == 1
            clients = [web, first, second]
            calls = [
                client.call_tool("write_note", {"path": f"n{number}-{index}.md", "content": "gnu"})
                for index, client in enumerate(clients) for number in range(20)
            ]
            running = asyncio.gather(*calls)
            await asyncio.sleep(0)
            doomed.send_signal(signal.SIGKILL)
            for result in await running:
                text(result)
            await doomed.wait()
            for client in clients:
                found = json.loads(text(await client.call_tool("search_notes", {"query": "gnu", "limit": 1})))
                assert found["total"] == 60

    asyncio.run(work())


def test_a_line_longer_than_the_token_budget_is_read_in_parts(place):
    long = "".join(chr(0x100 + number % 5000) for number in range(4000)) + "🙂" * 500
    (place.vault / "Long.md").write_text(f"before\n{long}\nafter")

    async def work():
        async with Client(stdio(place)) as client:
            parts, position = [], {"offset": 1, "column": 0}
            while position["offset"] == 1:
                result = await client.call_tool("read_note", {"path": "Long.md", "max_tokens": 500, **position})
                assert not result.is_error and len(result.content[0].text.encode()) <= 500 * 4
                answer = json.loads(result.content[-1].text)
                parts.append(result.content[0].text)
                position = {"offset": answer.get("next_offset", 3), "column": answer.get("next_column", 0)}
            assert len(parts) > 4 and "".join(parts).split("\n") == [long, "after"]

    asyncio.run(work())


def test_a_folder_of_many_folders_is_listed_within_the_token_budget(place):
    for number in range(300):
        (place.vault / f"Folder {number:03}").mkdir()
        (place.vault / f"Folder {number:03}" / "Note.md").write_text("")

    async def work():
        async with Client(stdio(place)) as client:
            place.wait_until_indexed()
            answers = [json.loads((await client.call_tool("list_notes", {"max_tokens": 800, "limit": 20, "offset": offset}))
                                  .content[-1].text) for offset in [0, 20]]
            assert answers[0]["folders"] and answers[1]["folders"] == []
            shown = len(answers[0]["folders"])
            assert 50 < shown < 250 and answers[0]["more_folders"] >= 300 - shown

    asyncio.run(work())


@pytest.mark.parametrize("tool, arguments, entries", [
    ("read_note", {"path": "Long.md"}, lambda answer, text: text.split("\n")),
    ("search_notes", {"query": "needle", "limit": 100}, lambda answer, text: answer["notes"]),
    ("list_notes", {"limit": 1000}, lambda answer, text: answer["notes"]),
    ("query_notes", {"limit": 500}, lambda answer, text: answer["notes"]),
])
def test_a_long_answer_keeps_to_its_token_budget_and_says_where_it_goes_on(place, tool, arguments, entries):
    for number in range(120):
        (place.vault / f"Note {number:03}.md").write_text(f"---\nnumber: {number}\n---\n" + "A needle in the hay. " * 8 + "\n")
    (place.vault / "Long.md").write_text("\n".join(f"line {number}" for number in range(2000)))

    async def work():
        async with Client(stdio(place)) as client:
            place.wait_until_indexed()
            seen, offset, pages = [], 0, 0
            while offset is not None:
                result = await client.call_tool(tool, {**arguments, "max_tokens": 300, "offset": offset})
                blocks = [block.text for block in result.content]
                assert not result.is_error, blocks
                # About four characters a token, and what is around the entries.
                assert sum(len(block) for block in blocks) < 300 * 4 + 400
                answer = json.loads(blocks[-1])
                seen += entries(answer, blocks[0])
                offset, pages = answer.get("next_offset"), pages + 1
            assert pages > 1 and len(seen) == len({str(each) for each in seen})
            assert len(seen) == answer.get("total", answer.get("lines"))

    asyncio.run(work())
