"""Two vaults in one host, with the official client: each is named, reached and watched, and nothing is mixed up."""

import asyncio
import json
import urllib.parse
import urllib.request

import pytest
from mcp import Client, StdioServerParameters

from knap_host import KNAP
from test_official_client import http, text


@pytest.fixture
def two(place):
    """`Recipes` beside `vault`; both have a note Shared.md and one that links to it."""
    place.other = place.root / "Recipes"
    place.other.mkdir()
    (place.other / "Shared.md").write_text("# Soup\nleek potato\n")
    (place.other / "Menu.md").write_text("[[Shared]]\n")
    (place.vault / "Shared.md").write_text("# Beds\nleek rows\n")
    (place.vault / "Map.md").write_text("[[Shared]]\n")
    return place


def ask(client, tool, **arguments):
    async def call():
        return json.loads(text(await client.call_tool(tool, arguments)))

    return call()


def served(place, transport):
    vaults = ["--vault", str(place.other)]
    if transport == "http":
        return http(place, place.serve(*vaults))
    return StdioServerParameters(command=KNAP, args=[*place.relay_arguments(), *vaults], env=place.environment)


async def until(condition):
    for _ in range(6000):
        if await condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within a minute")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_tools_reach_each_vault_by_its_name_and_say_the_names(two, mode, transport):
    server = served(two, transport)

    async def work():
        async with Client(server, mode=mode) as client:
            two.wait_until_indexed()
            # Without a name a client is told which there are, and nothing is read or written in the wrong one.
            for tool, arguments in [("search_notes", {"query": "leek"}), ("read_note", {"path": "Shared.md"}),
                                    ("write_note", {"path": "Stray.md", "content": "x"}), ("list_notes", {})]:
                refused = await client.call_tool(tool, arguments)
                assert refused.is_error
                said = refused.content[0].text
                assert "'vault'" in said and "'Recipes'" in said and "argument vault" in said
            assert not (two.vault / "Stray.md").exists() and not (two.other / "Stray.md").exists()
            misspelt = await client.call_tool("list_notes", {"vault": "Recipe"})
            assert misspelt.is_error and "did you mean 'Recipes'" in misspelt.content[0].text

            # Each has its own notes, of one path too, its own search, links and tags.
            assert text(await client.call_tool("read_note", {"path": "Shared.md", "vault": "Recipes"})).startswith("# Soup")
            assert text(await client.call_tool("read_note", {"path": "Shared.md", "vault": "vault"})).startswith("# Beds")
            found = await ask(client, "search_notes", query="leek", vault="Recipes")
            assert [note["path"] for note in found["notes"]] == ["Shared.md"] and "potato" in json.dumps(found)
            assert (await ask(client, "list_notes", vault="Recipes"))["notes"] == ["Menu.md", "Shared.md"]
            links = await ask(client, "note_links", path="Shared.md", vault="Recipes")
            assert [link["path"] for link in links["backlinks"]] == ["Menu.md"]
            links = await ask(client, "note_links", path="Shared.md", vault="vault")
            assert [link["path"] for link in links["backlinks"]] == ["Map.md"]

            # What changes one leaves the other alone.
            moved = await ask(client, "move_note", path="Shared.md", to="Soups/Leek.md", vault="Recipes")
            assert moved["updated"] == ["Menu.md"] and (two.other / "Menu.md").read_text() == "[[Leek]]\n"
            assert (two.vault / "Shared.md").read_text() == "# Beds\nleek rows\n" and (two.vault / "Map.md").read_text() == "[[Shared]]\n"
            await ask(client, "write_note", path="Shared.md", content="again", vault="Recipes")
            await ask(client, "delete_note", path="Shared.md", vault="vault")
            assert (two.other / "Shared.md").read_text() == "again" and not (two.vault / "Shared.md").exists()

            # Both are followed.
            (two.vault / "Outside.md").write_text("walrus in the garden")
            (two.other / "Outside.md").write_text("walrus in the kitchen")

            async def seen(vault):
                return (await ask(client, "search_notes", query="walrus", vault=vault))["total"] == 1

            for vault in ("vault", "Recipes"):
                await until(lambda: seen(vault))

            # Notes are resources of their vault.
            read = await client.read_resource("vault://Recipes/Soups/Leek.md")
            assert read.contents[0].text.startswith("# Soup")
            read = await client.read_resource("vault://vault/Map.md")
            assert read.contents[0].text == "[[Shared]]\n"
            with pytest.raises(Exception, match="vault"):
                await client.read_resource("vault:///Map.md")

    asyncio.run(work())


def test_vaults_whose_folders_have_one_name_are_told_apart_by_their_parents(two):
    for parent in ("home", "work"):
        folder = two.root / parent / "Notes"
        folder.mkdir(parents=True)
        (folder / "Where.md").write_text(parent)
    two.vault, second = two.root / "home/Notes", two.root / "work/Notes"
    two.serve("--vault", str(second), "--vault", f"{two.root}/work/../home/Notes/")
    two.wait_until_indexed()
    assert [vault["name"] for vault in two.call("vault.status")["vaults"]] == ["home/Notes", "work/Notes"]
    for parent in ("home", "work"):
        assert two.call("vault.read_note", path="Where.md", vault=f"{parent}/Notes")["content"] == parent
        uri = f"vault://{urllib.parse.quote(f'{parent}/Notes', safe='')}/Where.md"
        assert two.call("vault.read_resource", uri=uri)["contents"][0]["text"] == parent


def test_the_page_shows_both_vaults(two):
    endpoint = two.serve("--vault", str(two.other))
    two.wait_until_indexed()
    page = urllib.request.Request(endpoint.replace("/mcp", "/"), headers={"Authorization": "Bearer test-token"})
    shown = urllib.request.urlopen(page, timeout=60).read().decode()
    assert str(two.vault) in shown and str(two.other) in shown and "Recipes" in shown
