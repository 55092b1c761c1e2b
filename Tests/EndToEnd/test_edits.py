"""Edits over MCP and REST: previews, conflicts that show the current text, batches that are all there or not at all."""

import asyncio
import json
import os
import random
import re
import shutil
import signal
import subprocess

import pytest
from mcp import Client

from knap_host import wait_for
from test_history import killed_in_between
from test_official_client import http, text
from test_workers import attempt, info

NOTE = "---\r\n# kept\r\ntags: [a]\r\n---\r\n# Log\r\n\r\n## Plan\r\n- one ^one\r\n\r\n## Done\r\n\r\n### Plan\r\nold"


@pytest.fixture
def served(place):
    place.endpoint = place.serve()
    place.wait_until_indexed()
    place.note = place.vault / "Log.md"
    place.note.write_bytes(b"\xef\xbb\xbf" + NOTE.encode())
    return place


def test_a_preview_shows_the_diff_and_the_edit_does_just_that(served):
    before = served.note.read_bytes()

    async def work():
        async with Client(http(served, served.endpoint)) as client:
            for arguments, old, new in [
                ({"heading": "Done#Plan", "action": "replace", "content": "new"}, "old", "new"),
                ({"block": "^one", "action": "append", "content": "- two"}, "^one\r\n", "^one\r\n  - two\r\n"),
                ({"lines": "5", "action": "insert_after", "content": "a\nb"}, "# Log\r\n", "# Log\r\na\r\nb\r\n"),
                ({"lines": [5, 5], "action": "delete"}, "# Log\r\n", ""),
                ({"find": "# Log\n\n## Plan", "content": "# Diary\n\n## Plan"}, "# Log", "# Diary"),
                ({"property": "tags", "value": ["a", "b"]}, "[a]", "[a, b]"),
            ]:
                served.note.write_bytes(before)
                result = await client.call_tool("edit_note", {"path": "Log", "preview": True, **arguments})
                assert not result.is_error, result.content
                diff = result.content[0].text
                assert diff.startswith("--- Log.md\n+++ Log.md\n@@ ") and served.note.read_bytes() == before
                assert "change" not in json.loads(result.content[1].text)
                text(await client.call_tool("edit_note", {"path": "Log", **arguments}))
                assert served.note.read_bytes() == before.replace(old.encode(), new.encode(), 1)
                change = served.call("vault.history", limit=1)["changes"][0]["change"]
                assert served.call("vault.history", change=change)["diff"] == diff
            # Where a place is not the only one, or is none, nothing is done.
            served.note.write_bytes(before)
            for arguments, said in [({"heading": "Plan", "content": "x"}, "'Log#Plan' (## Plan, line 7), 'Log#Done#Plan' (### Plan, line 12)"),
                                    ({"heading": "Plans", "content": "x"}, "did you mean 'Plan'"),
                                    ({"block": "two", "action": "delete"}, "^one"),
                                    ({"find": "Plan", "content": "x"}, "2 times, at the lines 7, 12")]:
                refused = await client.call_tool("edit_note", {"path": "Log", **arguments})
                assert refused.is_error and said in refused.content[0].text, refused.content
            assert served.note.read_bytes() == before

    asyncio.run(work())


def test_a_conflict_answers_with_the_current_version_and_text(served):
    (served.vault / "Long.md").write_text("a long line of words\n" * 5000)

    async def work():
        async with Client(http(served, served.endpoint)) as client:
            for tool, arguments, shown, hidden in [
                ("write_note", {"path": "Log", "content": "x"}, "# Log", None),
                ("delete_note", {"path": "Log"}, "- one ^one", None),
                # Of an edit, what it was to change.
                ("edit_note", {"path": "Log", "heading": "Log#Plan", "content": "x"}, "- one ^one", "Done"),
                ("edit_note", {"path": "Log", "block": "one", "action": "delete"}, "- one ^one", "Done"),
                ("edit_note", {"path": "Log", "heading": "Gone", "content": "x"}, "## Done", None),
                ("edit_notes", {"operations": [{"operation": "edit", "path": "Log", "content": "x"}]}, "## Done", None),
                ("write_note", {"path": "Long", "content": "x"}, "a long line", None),
            ]:
                named = {"version": "0" * 32}
                if tool == "edit_notes":
                    arguments["operations"][0].update(named)
                else:
                    arguments = {**arguments, **named}
                refused = await client.call_tool(tool, arguments)
                assert refused.is_error
                said = refused.content[0].text
                path = "Long" if arguments.get("path") == "Long" else "Log"
                version = served.call("vault.read_note", path=path)["version"]
                assert "has changed since you read it" in said and version in said and "(ABORTED)" in said
                assert shown in said and (hidden is None or hidden not in said) and len(said) < 30_000, said
                details = json.loads(said[said.index("\n{"):])
                assert details["version"] == version and shown in details["content"]
                assert details.get("truncated", False) == (path == "Long")
            # With the version that it was told a client goes on.
            text(await client.call_tool("delete_note", {"path": "Log", "version": served.call("vault.read_note", path="Log")["version"]}))
            assert not served.note.exists()

    asyncio.run(work())


def test_a_batch_is_found_called_and_undone_as_one_change(served):
    before = {path: path.read_bytes() for path in served.vault.glob("*.md")}

    async def work():
        async with Client(http(served, served.endpoint)) as client:
            found = json.loads(text(await client.call_tool("find_tools", {"query": "change several notes together"})))
            assert "edit_notes" in [tool["name"] for tool in found["tools"]]
            operations = [{"operation": "edit", "path": "Log", "heading": "Log#Plan", "content": "- two"},
                          {"operation": "write", "path": "Plans/New.md", "content": "# New\n"},
                          {"operation": "edit", "path": "Plans/New", "property": "status", "value": "draft"},
                          {"operation": "delete", "path": "Ideas"}]
            arguments = {"name": "edit_notes", "arguments": {"operations": operations, "preview": True}}
            preview = json.loads(text(await client.call_tool("use_tool", arguments)))
            assert "+- two" in preview["diff"] and "+status: draft" in preview["diff"] and "+++ /dev/null" in preview["diff"]
            assert {path: path.read_bytes() for path in served.vault.glob("*.md")} == before
            done = json.loads(text(await client.call_tool("edit_notes", {"operations": operations})))
            assert [each["what"] for each in done["files"]] == ["edited", "created", "deleted"]
            assert (served.vault / "Plans/New.md").read_text() == "---\nstatus: draft\n---\n# New\n"
            assert not (served.vault / "Ideas.md").exists()
            # Found at once.
            assert served.call("vault.search_notes", query="[status:draft]")["notes"][0]["path"] == "Plans/New.md"
            refused = await client.call_tool("edit_notes", {"operations": [operations[1], {**operations[0], "heading": "Nowhere"}]})
            assert refused.is_error and "operation 1 of 2" in refused.content[0].text and "overwrite" in refused.content[0].text
            [listed] = [each for each in served.call("vault.history")["changes"] if each["change"] == done["change"]]
            assert listed["operation"] == "batch" and len(listed["files"]) == 3
            served.call("vault.undo", changes=[done["change"]])
            assert {path: path.read_bytes() for path in served.vault.glob("*.md")} == before
            assert not (served.vault / "Plans/New.md").exists()

    asyncio.run(work())


def rounds_of_killed_batches(served, count):
    assert served.knap("plugins", "isolate", "obsidian", "worker", "--state", str(served.state)).returncode == 0
    wait_for(lambda: "process" in info(served, "obsidian"), "the worker")
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    generator = random.Random(seed)
    notes = [f"f{number % 5}/Note {number:02}.md" for number in range(50)]
    for number in range(5):
        (served.vault / f"f{number}").mkdir()
    body = "words that stay\n" * 200

    def state_of_all():
        """The number that every note has; and that all have one, is what is asked."""
        made = [path.relative_to(served.vault).as_posix() for path in served.vault.glob("made*/**/*.md")]
        assert len(made) == 1, (seed, made)
        number = int(made[0].split()[-1][:-3])
        for note in notes:
            assert (served.vault / note).read_text() == f"# Note\nnumber {number}\n{body}", (seed, note, number)
        assert (served.vault / made[0]).read_text() == f"{number}\n"
        left = [path for path in served.vault.rglob(".knap-*")]
        assert left == [], (seed, left)
        return number

    for note in notes:
        (served.vault / note).write_text(f"# Note\nnumber 0\n{body}")
    (served.vault / "made").mkdir()
    (served.vault / "made/Made 0.md").write_text("0\n")
    number, longest, outcomes = 0, 0.1, set()
    for _ in range(count):
        served.wait_until_indexed()
        [old] = served.vault.glob("made*/**/*.md")
        operations = [{"operation": "edit", "path": note, "lines": 2, "action": "replace", "content": f"number {number + 1}"} for note in notes]
        operations.insert(generator.randrange(50), {"operation": "delete", "path": old.relative_to(served.vault).as_posix()})
        operations.insert(generator.randrange(50), {
            "operation": "write", "path": f"made{number + 1}/deep/Made {number + 1}.md", "content": f"{number + 1}\n"})
        answer = killed_in_between(served, ("vault.batch", {"operations": operations}), generator.uniform(0, longest))
        there = state_of_all()
        assert there in (number, number + 1)
        if answer["status"] == 0:
            assert there == number + 1, (seed, answer)
        outcomes.add(there != number)
        longest *= 0.9 if there != number else 1.1
        number = there
    return outcomes


def test_a_batch_whose_process_is_killed_is_done_or_not_done(served):
    rounds_of_killed_batches(served, 12)


@pytest.mark.storms
@pytest.mark.timeout(900)
def test_two_hundred_batches_whose_processes_are_killed_are_done_or_not_done(served):
    assert rounds_of_killed_batches(served, 200) == {True, False}


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace shows what reaches the disk in which order")
def test_a_batch_is_on_disk_before_the_first_note_changes_and_its_names_when_it_is_answered(served):
    notes = [f"Note {number}" for number in range(12)]
    for note in notes:
        (served.vault / f"{note}.md").write_text("old\n")
    log = served.root / "trace"
    tracer = subprocess.Popen(
        ["strace", "-f", "-y", "-p", str(served.host_pid()), "-o", str(log), "-e", "trace=fsync,fdatasync,syncfs,renameat2,mkdirat"],
        stderr=subprocess.PIPE, text=True)
    if "attached" not in tracer.stderr.readline():
        pytest.skip("nobody may trace here")
    operations = [{"operation": "edit", "path": note, "content": "new"} for note in notes]
    served.call("vault.batch", operations=[*operations, {"operation": "write", "path": "f/g/New", "content": "new"}])
    tracer.send_signal(signal.SIGINT)
    tracer.wait(30)
    vault = str(served.vault)
    steps = []
    # A call that another thread's came between is told by its beginning.
    for line in log.read_text().splitlines():
        found = re.search(r"(fsync|fdatasync|syncfs|renameat2|mkdirat)\(\d+<([^>]*)>(?:, \"([^\"]*)\")?", line)
        if found:
            steps.append((found[1], found[2].replace(vault, "", 1) if found[2].startswith(vault) else found[2], found[3]))
    first = next(place for place, step in enumerate(steps) if step[0] == "renameat2")
    last = max(place for place, step in enumerate(steps) if step[0] == "renameat2")
    journal = next(place for place, step in enumerate(steps) if step[0] in ("fsync", "fdatasync") and "history-" in step[1])
    [disk] = [place for place, step in enumerate(steps) if step[0] == "syncfs"]
    assert journal < disk < first and last - first >= 12, steps
    # A new folder in its parent, and in the end every folder's names.
    for above, name in [("", "f"), ("/f", "g")]:
        made = steps.index(("mkdirat", above, name))
        assert made < steps.index(("fsync", above, None), made) < disk, steps
    assert {step[1] for step in steps[last:] if step[0] == "fsync"} >= {"", "/f/g"}, steps


def resident(pid, what):
    status = open(f"/proc/{pid}/status").read()
    return int(status.split(what + ":")[1].split()[0]) << 10


@pytest.mark.storms
def test_a_note_of_fifty_megabytes_is_read_in_parts_searched_and_edited(served):
    count = 430_000
    line = "a line of a very long note with some words in it, number {}\n"
    long = "# Begin\n" + "".join(line.format(number) for number in range(count)) + "## Rare\nokapi ^id\n\n" + "".join(line.format(number) for number in range(count))
    path = served.vault / "Long.md"
    path.write_text(long)
    assert path.stat().st_size > 50 << 20
    wait_for(lambda: served.call("vault.search_notes", query="okapi")["total"] == 1, "the index", 120)
    found = served.call("vault.search_notes", query="okapi")["notes"][0]
    assert found["lines"][0]["line"] == count + 3
    part = served.call("vault.read_note", path="Long", offset=count + 1, limit=3)
    assert part["content"] == "## Rare\nokapi ^id\n" and part["next_offset"] == count + 4
    assert part["lines"] == 2 * count + 5
    first = served.call("vault.read_note", path="Long")
    assert first["next_offset"] and len(first["content"]) <= 60_000
    made = served.call("vault.edit_note", path="Long", find="okapi", content="giraffe")
    assert "giraffe" in made["content"] and len(made["content"]) < 1000
    assert served.call("vault.edit_note", path="Long", heading="Rare", action="prepend", content="x", preview=True)["content"].count("\n") == 10
    served.call("vault.edit_note", path="Long", block="id", action="append", content="antelope")
    assert path.read_text() == long.replace("okapi ^id", "giraffe\nantelope ^id")
    assert served.call("vault.search_notes", query="antelope")["total"] == 1
    assert resident(served.host_pid(), "VmHWM") < 1500 << 20


def test_a_note_that_is_not_text_is_never_rewritten(served):
    path = served.vault / "Odd.md"
    path.write_bytes(b"# Odd\n\xff\xfe [[Welcome]]\n")
    odd = path.read_bytes()
    for method, arguments in [("read_note", {}), ("edit_note", {"content": "x"}), ("edit_note", {"property": "k", "value": 1}),
                              ("edit_note", {"find": "Odd", "content": "Even"})]:
        refused = attempt(served, f"vault.{method}", path="Odd", **arguments)
        assert refused.returncode and "not UTF-8 text; it is left as it is" in refused.stderr, refused.stderr
    # A move of what it links to leaves it alone, and moving and deleting it keeps its bytes.
    served.call("vault.move_note", path="Welcome.md", to="Start.md")
    assert path.read_bytes() == odd
    served.call("vault.move_note", path="Odd.md", to="f/Odd.md")
    assert (served.vault / "f/Odd.md").read_bytes() == odd
    written = served.call("vault.write_note", path="f/Odd.md", content="text\n", overwrite=True)
    assert (served.vault / "f/Odd.md").read_text() == "text\n"
    served.call("vault.undo", changes=[written["change"]])
    assert (served.vault / "f/Odd.md").read_bytes() == odd
    trashed = served.call("vault.delete_note", path="f/Odd.md")["trashed"]
    assert (served.vault / trashed).read_bytes() == odd


def test_names_that_other_systems_refuse_are_refused_and_another_spelling_means_the_note_that_is_there(served):
    for name in ["a?b", "a:b", "a|b", "a*b", 'a"b', "a<b", "a>b", "a\\b", ".a", "a/.b", "a ", "a\tb", "a/b /c", "x" * 300]:
        for method, arguments in [("write_note", {"path": name, "content": "x"}),
                                  ("batch", {"operations": [{"operation": "write", "path": name, "content": "x"}]})]:
            refused = attempt(served, f"vault.{method}", **arguments)
            assert refused.returncode == 65 or "INVALID" in refused.stderr or refused.returncode == 64, (name, refused)
            assert "choose another name" in refused.stderr or "give a path inside the vault" in refused.stderr, (name, refused.stderr)
    (served.vault / "Café.md").write_text("here\n")
    (served.vault / "Küche").mkdir()
    (served.vault / "Küche/Brot.md").write_text("bread\n")
    wait_for(lambda: served.call("vault.search_notes", query="bread")["total"] == 1, "the index")
    wait_for(lambda: served.call("vault.search_notes", query="here")["total"] >= 1, "the index")
    for name in ["Cafe\u0301", "CAFÉ.md", "café"]:
        refused = attempt(served, "vault.write_note", path=name, content="x")
        assert refused.returncode and "already a note 'Café.md'" in refused.stderr
        assert served.call("vault.read_note", path=name)["content"] == "here\n"
    assert served.call("vault.write_note", path="Cafe\u0301.md", content="new\n", overwrite=True)["path"] == "Café.md"
    assert served.call("vault.write_note", path="Ku\u0308che/Kuchen", content="cake\n")["path"] == "Küche/Kuchen.md"
    names = sorted(os.listdir(served.vault))
    assert names.count("Café.md") == 1 and "Cafe\u0301.md" not in names and "Ku\u0308che" not in names
    assert (served.vault / "Café.md").read_text() == "new\n"


def test_properties_that_are_not_yaml_are_left_alone_and_the_rest_of_the_note_is_not(served):
    path = served.vault / "Broken.md"
    text = "---\na: [1\nb: }\n---\n# T\nneedle\n"
    path.write_text(text)
    refused = attempt(served, "vault.edit_note", path="Broken", property="a", value=1)
    assert refused.returncode and "not YAML that can be read" in refused.stderr and path.read_text() == text
    assert served.call("vault.read_note", path="Broken")["content"] == text
    wait_for(lambda: served.call("vault.search_notes", query="needle")["total"] == 1, "the index")
    served.call("vault.edit_note", path="Broken", action="prepend", content="first")
    served.call("vault.edit_note", path="Broken", heading="T", content="last")
    assert path.read_text() == text.replace("---\n# T", "---\nfirst\n# T") + "last\n"

