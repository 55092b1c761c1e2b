"""Links, mentions and contexts of a vault: over MCP with the official client, over REST, and by a person at a terminal."""

import asyncio
import json
import os
import pty
import re
import subprocess
import time

import pytest
from mcp import Client

from knap_host import KNAP, Place, REAL_VAULTS
from rest import Site
from test_official_client import http, text

NOTES = {
    "Hub.md": "---\naliases: [Centre]\nup: \"[[Top]]\"\n---\n# Hub\n[[A]] [[B#Part]]\n",
    "A.md": "# A\n[[Far]] [[Missing]]\n![[used.png]]\n",
    "B.md": "intro [[Unrelated]]\n# Part\nthe part\n# Rest\nthe rest\n",
    "Far.md": "The hub is named here, and the CENTRE.\n`hub` [[Hub]] hub\n",
    "Top.md": "", "Unrelated.md": "", "Lone.md": "No hubcaps. [[Farr]]\n", "Alone.md": "nothing\n",
    "used.png": "x", "files/unused.png": "x", "files/in page.png": "x", "Page.md": "<img src=\"files/in page.png\"> [[Hub]]\n",
    "Board.canvas": json.dumps({"nodes": [{"id": "1", "type": "file", "file": "Top.md", "x": 0, "y": 0, "width": 1, "height": 1},
                                          {"id": "2", "type": "file", "file": "Vanished.md", "x": 0, "y": 0, "width": 1, "height": 1}], "edges": []}),
}


@pytest.fixture
def garden(place):
    for note in [*place.vault.rglob("*.md")]:
        note.unlink()
    for path, content in NOTES.items():
        (place.vault / path).parent.mkdir(exist_ok=True)
        (place.vault / path).write_text(content)
    place.endpoint = place.serve()
    place.wait_until_indexed()
    return place


def over_mcp(place, name, arguments):
    async def work():
        async with Client(http(place, place.endpoint)) as client:
            assert name not in {tool.name for tool in (await client.list_tools()).tools}
            found = json.loads(text(await client.call_tool("find_tools", {"query": name.replace("_", " ")})))
            assert name in [tool["name"] for tool in found["tools"]]
            return await client.call_tool("use_tool", {"name": name, "arguments": arguments})

    return asyncio.run(work())


def on_terminal(place, *arguments, **variables):
    """What `knap` shows on a terminal."""
    parent, child = pty.openpty()
    environment = {key: value for key, value in place.environment.items() if key != "NO_COLOR"} | {"TERM": "xterm"} | variables
    process = subprocess.Popen([KNAP, *arguments, "--state", str(place.state)], stdin=subprocess.DEVNULL, stdout=child, stderr=child, env=environment)
    os.close(child)
    output = b""
    while True:
        try:
            chunk = os.read(parent, 65536)
        except OSError:
            break
        if not chunk:
            break
        output += chunk
    os.close(parent)
    assert process.wait(30) == 0, output
    return output.decode().replace("\r\n", "\n")


def piped(place, *arguments):
    done = place.knap(*arguments, "--state", str(place.state))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_graph_is_asked_over_mcp_and_rest_alike(garden):
    site = Site(garden, garden.endpoint)
    expected = {
        ("neighbours", "Hub"): {"total": 5, "at_distance": [5], "notes": [
            {"path": "A.md", "distance": 1, "link": "out"}, {"path": "B.md", "distance": 1, "link": "out"},
            {"path": "Far.md", "distance": 1, "link": "in"}, {"path": "Page.md", "distance": 1, "link": "in"},
            {"path": "Top.md", "distance": 1, "link": "out"}]},
        ("orphans", None): {"total": 1, "files": ["Alone.md"]},
        ("unused", None): {"total": 2, "files": ["files/in page.png", "files/unused.png"],
                           "named": [{"path": "files/in page.png", "in": "Page.md"}]},
        ("broken", None): {"total": 3, "broken": [
            {"path": "A.md", "line": 2, "link": "Missing"}, {"path": "Board.canvas", "line": 1, "link": "Vanished.md"},
            {"path": "Lone.md", "line": 1, "link": "Farr", "nearest": "Far.md"}]},
    }
    for (find, path), answer in expected.items():
        arguments = {"find": find, **({"path": path} if path else {})}
        result = over_mcp(garden, "note_graph", arguments)
        assert not result.is_error, result
        given = json.loads(result.content[0].text)
        assert {key: given.get(key) for key in answer} == answer, (find, given)
        assert site.post("/tools/note_graph", arguments).json == given
    path = garden.call("vault.graph", path="Unrelated", to="Board.canvas")
    assert path["length"] == 4 and path["total"] == 1
    assert path["paths"] == [{"files": ["Unrelated.md", "B.md", "Hub.md", "Top.md", "Board.canvas"], "links": ["in", "in", "out", "in"]}]
    assert garden.call("vault.graph", path="Hub", to="Lone")["paths"] == []
    pages = [garden.call("vault.graph", path="Hub", depth=2, limit=2, offset=offset) for offset in (0, 2, 4, 6)]
    assert [note["path"] for page in pages for note in page["notes"]] == [
        "A.md", "B.md", "Far.md", "Page.md", "Top.md", "Board.canvas", "Unrelated.md"]
    assert [page.get("next_offset") for page in pages] == [2, 4, 6, None] and pages[0]["at_distance"] == [5, 2]
    assert [note["path"] for note in garden.call("vault.graph", path="Hub", direction="out")["notes"]] == ["A.md", "B.md", "Top.md"]
    assert garden.call("vault.graph", find="orphans", no_backlinks=True)["files"] == ["Alone.md", "Lone.md", "Page.md"]
    assert garden.call("vault.graph", find="unused", path="files/")["total"] == 2


def test_the_graph_follows_what_changes(garden):
    def broken():
        return [each["link"] for each in garden.call("vault.graph", find="broken")["broken"]]

    assert broken() == ["Missing", "Vanished.md", "Farr"]
    garden.call("vault.write_note", path="Deep/Missing.md", content="[[Nowhere]]\n")
    assert broken() == ["Vanished.md", "Nowhere", "Farr"]
    garden.call("vault.move_note", path="Deep/Missing.md", to="Found.md")
    assert broken() == ["Vanished.md", "Nowhere", "Farr"]
    garden.call("vault.delete_note", path="Found.md")
    assert broken() == ["Found", "Vanished.md", "Farr"]
    (garden.vault / "Farr.md").write_text("by an editor\n")
    end = time.monotonic() + 30
    while broken() != ["Found", "Vanished.md"]:
        assert time.monotonic() < end
    assert garden.call("vault.graph", find="orphans")["files"] == ["Alone.md"]


@pytest.mark.parametrize("arguments, reason", [
    ({}, "'path' is required"), ({"path": "Hubb"}, "did you mean 'Hub.md'"), ({"find": "path", "path": "Hub"}, "'to' is required"),
    ({"path": "Hub", "depth": 99}, "depth must be between 1 and 20"), ({"find": "broken", "path": "nowhere"}, "no note or folder 'nowhere'"),
    ({"find": "broken", "path": "../x"}, "climbs out"),
])
def test_a_wrong_question_is_answered_with_what_to_ask(garden, arguments, reason):
    refused = garden.knap("call", "vault.graph", json.dumps(arguments), "--state", str(garden.state))
    assert refused.returncode != 0 and reason in refused.stderr, refused.stderr


def test_mentions_are_found_both_ways_and_not_in_links_or_code(garden):
    expected = {"path": "Hub.md", "names": ["Hub", "Centre"], "total": 1, "notes": [{"path": "Far.md", "mentions": [
        {"line": 1, "text": "The hub is named here, and the CENTRE."}, {"line": 2, "text": "`hub` [[Hub]] hub"}]}]}
    result = over_mcp(garden, "unlinked_mentions", {"path": "Hub"})
    assert json.loads(result.content[0].text) == expected
    assert Site(garden, garden.endpoint).post("/tools/unlinked_mentions", {"path": "Hub"}).json == expected
    out = garden.call("vault.mentions", path="Far", direction="out", marks=True)
    assert [note["path"] for note in out["notes"]] == ["Hub.md"]
    assert [line["marks"] for line in out["notes"][0]["mentions"]] == [[[4, 7], [31, 37]], [[14, 17]]]
    garden.call("vault.edit_note", path="Far", find="The hub", content="The [[hub]]")
    assert garden.call("vault.mentions", path="Hub", marks=True)["notes"][0]["mentions"][0]["marks"] == [[35, 41]]


def test_a_context_has_the_notes_around_and_says_what_did_not_fit(garden):
    result = over_mcp(garden, "build_context", {"path": "Hub"})
    content, rest = result.content[0].text, json.loads(result.content[1].text)
    assert re.findall(r"^===== (.*) =====$", content, re.M) == ["Hub.md", "Top.md", "A.md", "B.md#Part"]
    assert "the part" in content and "the rest" not in content and rest["left_out"] == 0
    garden.call("vault.write_note", path="A.md", content="# A\n" + "a long paragraph about nothing\n\n" * 500, overwrite=True)
    small = garden.call("vault.context", path="Hub", max_tokens=500, backlinks=True)
    assert "[cut here: the rest begins at line" in small["content"] and len(small["content"]) < 2000
    tiny = garden.call("vault.context", path="A", max_tokens=200, depth=0)
    assert tiny["parts"][0]["cut_at"] > 1 and len(tiny["content"]) < 800
    assert garden.call("vault.context", path="Hub", max_tokens=500, backlinks=True) == small
    garden.call("vault.write_note", path="Many.md", content="".join(f"[[Big {n}]]\n" for n in range(40)))
    for n in range(40):
        (garden.vault / f"Big {n}.md").write_text("word " * 400)
    wait = time.monotonic() + 30
    while (many := garden.call("vault.context", path="Many", max_tokens=1000))["left_out"] < 35:
        assert time.monotonic() < wait, many
    assert "left out, because it did not fit" in many["content"] and "(2000 characters, distance 1)" in many["content"]
    assert len(many["content"]) <= 4000


def test_a_person_sees_what_was_found_set_off_on_a_terminal_and_plain_in_a_pipe(garden):
    red = "\x1b[1;31m{}\x1b[0m".format
    shown = on_terminal(garden, "vault", "search", "named OR nothing")
    assert f"The hub is {red('named')} here" in shown and red("nothing") in shown and "marks" not in shown
    assert "\x1b" not in on_terminal(garden, "vault", "search", "named", NO_COLOR="1")
    plain = piped(garden, "vault", "search", "named")
    assert "\x1b" not in plain and "marks" not in plain and "The hub is named here" in plain
    as_json = json.loads(piped(garden, "vault", "search", "named", "--json"))
    assert as_json["notes"][0]["lines"][0]["marks"] == [[11, 16]]
    mentions = on_terminal(garden, "vault", "mentions", "Hub")
    assert f"The {red('hub')} is named here, and the {red('CENTRE')}." in mentions
    # The columns stand under each other whatever is set off.
    assert re.sub(r"\x1b\[[0-9;]*m", "", mentions) == piped(garden, "vault", "mentions", "Hub")


def test_a_note_gives_a_terminal_no_orders(garden):
    (garden.vault / "Bad.md").write_text("sneaky \x1b]0;owned\x07 \x1b[2J text\n")
    end = time.monotonic() + 30
    while "sneaky" not in (shown := on_terminal(garden, "vault", "search", "sneaky", NO_COLOR="1")):
        assert time.monotonic() < end
    assert "\x1b" not in shown and "\x07" not in shown and "\ufffd]0;owned\ufffd" in shown


def test_the_commands_of_the_graph(garden):
    assert "Far.md" in piped(garden, "vault", "graph", "Hub") and "Unrelated.md" in piped(garden, "vault", "graph", "Hub", "--depth", "2")
    assert json.loads(piped(garden, "vault", "graph", "Top", "--to", "Far", "--json"))["length"] == 2
    broken = piped(garden, "vault", "broken")
    assert re.search(r"Lone\.md +1 +Farr +Far\.md", broken) and "NEAREST" in broken
    assert json.loads(piped(garden, "vault", "orphans", "--json"))["files"] == ["Alone.md"]
    assert json.loads(piped(garden, "vault", "orphans", "--no-backlinks", "--json"))["files"] == ["Alone.md", "Lone.md", "Page.md"]
    assert "files/unused.png" in piped(garden, "vault", "unused")
    assert piped(garden, "vault", "context", "Hub").startswith("===== Hub.md =====\n---\naliases")
    refused = garden.knap("vault", "broken", "--find", "unused", "--state", str(garden.state))
    assert refused.returncode == 64 and "unknown option --find" in refused.stderr
    assert "--find" not in piped(garden, "vault", "broken", "--help") and "--depth" not in piped(garden, "vault", "broken", "--help")
    [status] = json.loads(piped(garden, "vault", "status", "--json"))["vaults"]
    expected = {"notes": 9, "indexed": 9, "ready": True, "other_files": 4, "links": 12, "broken_links": 3, "tags": 0, "changes": 0, "watching": "4 folders"}
    assert {key: status[key] for key in expected} == expected and status["journal_bytes"] > 0
    garden.call("vault.edit_note", path="Alone", action="append", content="[[Hub]]")
    assert "broken links: 3" in piped(garden, "vault", "status") and "changes: 1" in piped(garden, "vault", "status")


@pytest.mark.parametrize("name", ["docs", "Tasks-Demo"])
def test_a_real_vault_answers_all_of_it(name):
    place = Place(REAL_VAULTS / name)
    try:
        place.serve()
        place.wait_until_indexed()
        notes = place.call("vault.list_notes", limit=1000)["notes"]
        total = 0
        for note in notes[::4]:
            near = place.call("vault.graph", path=note, depth=2)
            assert sum(near["at_distance"]) == near["total"]
            linked = {link["path"] for link in place.call("vault.note_links", path=note, limit=1000)["backlinks"]} - {note}
            assert linked <= {each["path"] for each in near["notes"] if each["distance"] == 1}
            total += len(place.call("vault.mentions", path=note)["notes"])
            context = place.call("vault.context", path=note, max_tokens=2000, backlinks=True)
            assert context["parts"][0]["path"] == note and len(context["content"]) <= 8000
        assert total > 0
        broken = place.call("vault.graph", find="broken", limit=500)
        for each in broken["broken"][:40]:
            line = (place.vault / each["path"]).read_text().split("\n")[each["line"] - 1]
            assert each["link"].split("#")[0].split("/")[-1].split(" ")[0] in line, each
        assert len(broken["broken"]) == broken["total"]
    finally:
        place.close()
