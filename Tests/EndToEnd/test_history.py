"""What the vault's tools changed can be listed, shown and undone; and a change is all there or not at all."""

import os
import random
import signal
import threading
import time

import pytest

from callers import Connection
from knap_host import wait_for
from test_workers import info


@pytest.fixture
def served(place):
    place.serve()
    place.wait_until_indexed()
    return place


def texts(place):
    return {str(path.relative_to(place.vault)): path.read_text() for path in place.vault.rglob("*.md")
            if not any(part.startswith(".") for part in path.relative_to(place.vault).parts)}


def test_every_change_is_listed_shown_and_undone_also_after_a_restart(served):
    before = texts(served)
    made = [
        served.call("vault.write_note", path="New", content="# New\nSee [[Welcome]].\n")["change"],
        served.call("vault.edit_note", path="New", find="See", content="Look at")["change"],
        served.call("vault.move_note", path="Welcome.md", to="Elsewhere/Start.md")["change"],
        served.call("vault.delete_note", path="Ideas.md")["change"],
    ]
    assert made == [1, 2, 3, 4]
    # What changes nothing is no change.
    assert "change" not in served.call("vault.write_note", path="New", content=(served.vault / "New.md").read_text(), overwrite=True)
    listed = served.call("vault.history")
    assert [(each["change"], each["operation"]) for each in listed["changes"]] == [(4, "delete"), (3, "move"), (2, "edit"), (1, "write")]
    assert {"path": "Elsewhere/Start.md", "from": "Welcome.md", "what": "moved"} in listed["changes"][1]["files"]
    assert [each["change"] for each in served.call("vault.history", path="New")["changes"]] == [3, 2, 1]
    diff = served.call("vault.history", change=2)["diff"]
    assert diff == "--- New.md\n+++ New.md\n@@ -1,2 +1,2 @@\n # New\n-See [[Welcome]].\n+Look at [[Welcome]].\n"
    assert "[[Start]]" in (served.vault / "New.md").read_text()

    os.kill(served.host_pid(), signal.SIGTERM)
    served.processes[0].wait(30)
    served.serve()
    preview = served.call("vault.undo", changes=[3], preview=True)
    assert "+++ Welcome.md" in preview["diff"] and "[[Welcome]]" in preview["diff"] and (served.vault / "Elsewhere/Start.md").exists()
    undone = served.call("vault.undo", changes=made)["undone"]
    assert [each["change"] for each in undone] == [4, 3, 2, 1] and [each["by"] for each in undone] == [5, 6, 7, 8]
    assert texts(served) == before
    assert not list((served.vault / ".trash").glob("Ideas*"))
    # What undid can be undone.
    served.call("vault.undo", changes=[5])
    assert "Ideas.md" not in texts(served)
    assert "undone_by" not in served.call("vault.history", change=4)["changes"][0]
    assert served.call("vault.history", change=5)["changes"][0]["undone_by"] == 9
    assert served.call("vault.undo", changes=[4])["undone"][0]["by"] == 10
    assert texts(served) == before


def test_what_a_person_edited_since_stays_or_is_reported(served):
    note = served.vault / "Mine.md"
    note.write_text("one\ntwo\nthree\nfour\n")
    change = served.call("vault.edit_note", path="Mine", find="two", content="2")["change"]
    note.write_text("one\n2\nthree\nfour, by hand\n")
    served.call("vault.undo", changes=[change])
    assert note.read_text() == "one\ntwo\nthree\nfour, by hand\n"

    change = served.call("vault.edit_note", path="Mine", find="two", content="2")["change"]
    note.write_text("one\n2, by hand\nthree\nfour, by hand\n")
    answer = served.call("vault.undo", changes=[change])
    assert answer["undone"] == [] and answer["stopped_at"] == change
    assert answer["conflicts"][0] == {
        "path": "Mine.md", "reason": "these lines were edited since", "line": 2, "then": "2\n", "now": "2, by hand\n",
        "wanted": "two\n"}
    assert note.read_text() == "one\n2, by hand\nthree\nfour, by hand\n"


def together(served, seconds):
    """Two agents and an editor on one note: every line of each is there at the end, once and whole."""
    note = served.vault / "Shared.md"
    note.write_text("first\n")
    until = time.monotonic() + seconds
    written = {}

    def agent(name):
        connection = Connection(served)
        try:
            count = 0
            while time.monotonic() < until:
                answer = connection.call("vault.edit_note", {"path": "Shared.md", "action": "append", "content": f"{name} {count}"})
                assert answer["status"] == 0, answer
                count += 1
            written[name] = count
        finally:
            connection.close()

    def editor():
        count, generator = 0, random.Random(1)
        while time.monotonic() < until:
            # As editors do that save into the file itself.
            with open(note, "a") as file:
                file.write(f"editor {count}\n")
            count += 1
            time.sleep(generator.uniform(0.005, 0.05))
        written["editor"] = count

    threads = [threading.Thread(target=agent, args=[name]) for name in ("one", "two")] + [threading.Thread(target=editor)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = note.read_text().splitlines()
    assert lines[0] == "first" and len(written) == 3 and all(count > 10 for count in written.values()), written
    assert sorted(lines[1:]) == sorted(f"{name} {number}" for name, count in written.items() for number in range(count))
    # Each writes in its own order.
    for name, count in written.items():
        assert [line for line in lines if line.startswith(name + " ")] == [f"{name} {number}" for number in range(count)]


def test_agents_and_an_editor_on_one_note_lose_nothing(served):
    together(served, 5)


@pytest.mark.storms
def test_agents_and_an_editor_on_one_note_for_a_minute_lose_nothing(served):
    together(served, 60)


def killed_in_between(place, call, after):
    """Makes a call and kills the plugin's process so many seconds later, whether or not it was answered."""
    process = int(info(place, "obsidian")["process"])
    connection = Connection(place)
    try:
        connection.send(*call)
        time.sleep(after)
        os.kill(process, signal.SIGKILL)
        answer = connection.receive()
    finally:
        connection.close()

    def is_back():
        shown = info(place, "obsidian")
        if shown["state"] == "failed" and "quarantine" in shown["reason"]:
            # Ended too often, as anybody would say.
            place.knap("plugins", "release", "obsidian", "--state", str(place.state))
        return shown["state"] == "active" and int(shown["process"]) != process

    wait_for(is_back, "the plugin's return")
    return answer


def rounds_of_kills(served, count):
    # A process of its own, which can be killed alone.
    assert served.knap("plugins", "isolate", "obsidian", "worker", "--state", str(served.state)).returncode == 0
    wait_for(lambda: "process" in info(served, "obsidian"), "the worker")
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    generator = random.Random(seed)
    sources = [f"Source {number:02}.md" for number in range(60)]
    text = "before [[{}]] and ![[{}|x]] after\n" * 20
    for source in sources:
        (served.vault / source).write_text(text.format(*["Target A"] * 40))
    (served.vault / "Target A.md").write_text("the target\n")
    outcomes, name, longest = set(), "Target A", 0.02
    for number in range(count):
        served.wait_until_indexed()
        other = "Target B" if name == "Target A" else "Target A"
        undoing = generator.random() < 0.3
        call = ("vault.move_note", {"path": f"{name}.md", "to": f"{other}.md"})
        if undoing:
            last = served.call("vault.history", limit=1)["changes"]
            if last and "undone_by" not in last[0]:
                call = ("vault.undo", {"changes": [last[0]["change"]]})
        answer = killed_in_between(served, call, generator.uniform(0, longest))
        there = [each for each in ("Target A", "Target B") if (served.vault / f"{each}.md").exists()]
        assert len(there) == 1, (seed, number, there)
        assert (served.vault / f"{there[0]}.md").read_text() == "the target\n"
        for source in sources:
            assert (served.vault / source).read_text() == text.format(*[there[0]] * 40), (seed, number, source, there)
        left = [path.name for path in served.vault.iterdir() if path.name.startswith(".knap-")]
        assert left == [], (seed, number, left)
        if answer["status"] == 0:
            assert there[0] != name, (seed, number, answer)
        outcomes.add(there[0] != name)
        # About half of the changes are to be done before the end, however fast the machine is.
        longest *= 0.9 if there[0] != name else 1.1
        name = there[0]
    return outcomes


def test_a_process_that_is_killed_leaves_a_change_done_or_not_done(served):
    rounds_of_kills(served, 15)


@pytest.mark.storms
@pytest.mark.timeout(600)
def test_two_hundred_kills_leave_every_note_whole(served):
    assert rounds_of_kills(served, 200) == {True, False}
