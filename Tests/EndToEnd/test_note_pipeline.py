"""Processors of notes, built in and contributed: their order, what is kept, and what happens when one fails."""

import pytest

import plugins
from knap_host import wait_for
from test_live_changes import command
from test_workers import state_of

SUMMARY = {"name": "summary", "method": "test.reader.summary", "needs": ["count"], "after": ["metadata"], "deadline_ms": 700}
COUNT = {"name": "count", "method": "test.reader.count", "version": "1"}


def build(place, name="reader", version="1.0.0", processors=(SUMMARY, COUNT), **options):
    library = plugins.build(
        place.root / "built", name, version=version, source="reader.c", contributes={"processors": list(processors)}, **options)
    path = plugins.drop(place, library)
    wait_for(lambda: state_of(place, name) == "active", f"the start of {name}")
    return path


@pytest.fixture
def served(place):
    place.serve()
    place.wait_until_indexed()
    return place


def data(place, path, processor=None):
    return place.call("vault.note_data", path=path, **({"processor": processor} if processor else {}))


def processed(place, path):
    """Its data, once nothing waits for it any more."""
    return wait_for(lambda: "waiting" not in (found := data(place, path)) and found, f"the processing of {path}")


def failures(place):
    return {(each["path"], each["processor"]): each["reason"] for each in place.call("vault.processing")["failures"]}


def restart(place):
    place.processes[-1].terminate()
    place.processes[-1].wait(20)
    place.serve()
    place.wait_until_indexed()


def test_what_knap_itself_finds_in_a_note(served):
    (served.vault / "Plan.md").write_text(
        "---\ntags: [work]\naliases: Roadmap\n---\n# Plan\nSee [[Ideas#Later|later]], it's 漢字.\n"
        "- [ ] Call Ada #phone ⏫ 🔁 every week ⏳ 2026-05-30 📅 2026-05-31 #urgent\n"
        "\t- [x] Buy seeds [due:: 2026-04-01] [completion:: 2026-04-02] [priority:: low]\n> - [-] 1 ❌ 2026-01-02\n- [/] half\n- [ ] 📅 tomorrow\n"
        "- no task\n")
    found = wait_for(lambda: processed(served, "Plan.md"), "processing")
    assert found["title"] == "Plan" and set(found["data"]) == {"metadata", "links", "tasks"}
    metadata = found["data"]["metadata"]
    assert metadata["tags"][0] == "work" and metadata["aliases"] == ["Roadmap"]
    assert metadata["headings"] == [{"level": 1, "text": "Plan", "line": 5}]
    assert found["data"]["links"]["links"] == [
        {"target": "Ideas", "kind": "link", "line": 6, "subpath": "#Later", "display": "later"}]
    first, second, third, fourth, fifth = found["data"]["tasks"]["tasks"]
    assert first == {
        "line": 7, "status": "todo", "mark": " ", "text": "Call Ada #phone #urgent", "tags": ["phone", "urgent"], "priority": "high",
        "due": "2026-05-31", "scheduled": "2026-05-30", "recurrence": "every week"}
    assert (second["status"], second["due"], second["done"], second["priority"], second["text"]) == (
        "done", "2026-04-01", "2026-04-02", "low", "Buy seeds")
    assert (third["status"], third["cancelled"], third["text"]) == ("cancelled", "2026-01-02", "1")
    assert fourth["status"] == "in_progress" and fifth["text"] == "📅 tomorrow" and "due" not in fifth

    def lines(**arguments):
        return [each["line"] for each in served.call("vault.tasks", path="Plan", **arguments)["tasks"]]

    assert lines() == [8, 7, 9, 10, 11]
    assert lines(status="open") == [7, 10, 11] and lines(status="done") == [8]
    assert lines(due_before="2026-05-31") == [8] and lines(due_after="2026-04-01") == [7]
    assert lines(tag="#Phone") == [7] and lines(limit=2, offset=1) == [7, 9]
    shown = served.knap("vault", "tasks", "--status", "done", "--path", "Plan.md", "--state", str(served.state))
    assert shown.returncode == 0 and "Buy seeds" in shown.stdout, shown.stderr
    wrong = served.knap("call", "vault.tasks", '{"due_before": "soon"}', "--state", str(served.state))
    assert wrong.returncode != 0 and "2026-05-31" in wrong.stderr
    # A change is followed, and what has gone has no tasks any more.
    (served.vault / "Plan.md").write_text("- [x] all done\n")
    wait_for(lambda: lines(status="done") == [1] and lines(status="open") == [], "the new content's tasks")
    (served.vault / "Plan.md").unlink()
    wait_for(lambda: lines() == [], "the end of its tasks")


def test_contributed_processors_run_in_their_order_and_never_twice_for_one_content(served):
    build(served)
    first = processed(served, "Welcome.md")["data"]
    assert first["summary"]["count"] and first["summary"]["metadata"] and not first["summary"]["links"]
    wait_for(lambda: served.call("vault.processing")["waiting"] == 0, "the end of the work")
    order = [each["name"] for each in served.call("vault.processing")["processors"]]
    assert order.index("count") < order.index("summary") and order.index("metadata") < order.index("summary")

    # Neither a restart nor a move nor a reload makes it run again; a new content does.
    restart(served)
    wait_for(lambda: state_of(served, "reader") == "active", "the start")
    (served.vault / "Fresh.md").write_text("fresh")
    assert processed(served, "Fresh.md")["data"]["count"]["pid"] != first["count"]["pid"]
    served.call("vault.move_note", path="Welcome.md", to="Hello.md")
    assert command(served, "plugins", "reload", "reader").returncode == 0
    assert {name: processed(served, "Hello.md")["data"][name] for name in ("count", "summary")} == {
        name: first[name] for name in ("count", "summary")}

    # Another version of one runs again, and what depends on it too; what does not is kept.
    build(served, version="1.1.0")
    assert wait_for(lambda: (found := processed(served, "Hello.md")["data"])["summary"]["by"] == "1.1.0" and found, "the new version")[
        "count"] == first["count"]
    build(served, version="1.2.0", processors=[SUMMARY, {**COUNT, "version": "2"}])
    wait_for(lambda: processed(served, "Hello.md")["data"].get("count", first["count"]) != first["count"], "the new count")


def test_only_the_notes_that_a_processor_is_for_and_a_name_that_is_taken_or_a_need_that_nothing_meets(served):
    (served.vault / "Work").mkdir()
    (served.vault / "Work/A.md").write_text("in work #x/y")
    (served.vault / "B.md").write_text("outside #x")
    (served.vault / "C.md").write_text("outside")
    build(served, processors=[
        {**COUNT, "name": "inside", "folders": ["work/"]}, {**COUNT, "name": "tagged", "tags": ["#X"]}, {**COUNT, "name": "tasks"},
        {**COUNT, "name": "lost", "needs": ["weather"]}, {**COUNT, "name": "left", "after": ["right"]},
        {**COUNT, "name": "right", "after": ["left"]}])
    wait_for(lambda: "inside" in processed(served, "Work/A.md")["data"], "the processor")
    added = {path: set(processed(served, path)["data"]) - {"metadata", "links", "tasks"} for path in ("Work/A.md", "B.md", "C.md")}
    assert added == {"Work/A.md": {"inside", "tagged"}, "B.md": {"tagged"}, "C.md": set()}
    problems = {(each["name"], each.get("plugin")): each.get("problem") for each in served.call("vault.processing")["processors"]}
    assert problems[("tasks", None)] is None and "already" in problems[("tasks", "reader")]
    assert "'weather'" in problems[("lost", "reader")] and "cycle" in problems[("left", "reader")]


@pytest.mark.parametrize("isolation", ["worker", "in-process"])
def test_failures_are_listed_stop_nothing_and_are_tried_again_when_something_changes(served, isolation):
    texts = {"Bad.md": "FAIL", "Odd.md": "ODD", "Stuck.md": "HANG", "Fine.md": "well"}
    for path, text in texts.items():
        (served.vault / path).write_text(f"{text} [[Welcome]]")
    path = build(served)
    assert command(served, "plugins", "isolate", "reader", isolation).returncode == 0
    wanted = {"Bad.md": "nothing to sum up", "Odd.md": "JSON object", "Stuck.md": "DEADLINE_EXCEEDED"}
    wait_for(lambda: set(failures(served)) == {(path, "summary") for path in wanted}, "the failures")
    for path, reason in wanted.items():
        assert reason in failures(served)[(path, "summary")]
    # What else there is to know of them is there, and the other notes are done.
    wait_for(lambda: served.call("vault.processing")["waiting"] == 0, "the end of the work")
    assert "count" in processed(served, "Stuck.md")["data"] and "summary" in processed(served, "Fine.md")["data"]
    assert processed(served, "Bad.md")["failures"][0]["processor"] == "summary"
    assert served.call("vault.search_notes", query="HANG")["total"] == 1
    status = served.call("vault.status")["vaults"][0]
    assert status["failures"] == 3 and status["processed"] == status["notes"]
    shown = served.knap("vault", "processing", "--state", str(served.state))
    assert "Bad.md" in shown.stdout and "nothing to sum up" in shown.stdout
    # They are not tried again by themselves, not even at the next start.
    before = served.call("vault.processing")["failures"]
    restart(served)
    wait_for(lambda: state_of(served, "reader") == "active", "the start")
    (served.vault / "Next.md").write_text("next")
    assert "summary" in wait_for(lambda: processed(served, "Next.md"), "the next note")["data"]
    assert served.call("vault.processing")["failures"] == before
    # By a new content, and when they are asked for.
    (served.vault / "Bad.md").write_text("better")
    wait_for(lambda: ("Bad.md", "summary") not in failures(served), "the better content")
    assert served.call("vault.process_notes", path="Odd.md") == {"retried": 1}
    wait_for(lambda: ("Odd.md", "summary") in failures(served), "the failure once more")
    assert set(failures(served)) == {("Odd.md", "summary"), ("Stuck.md", "summary")}


def test_a_note_that_a_processor_does_not_survive_is_listed_and_the_others_are_done(served):
    build(served)
    processed(served, "Welcome.md")
    for number in range(12):
        (served.vault / f"Note {number:02}.md").write_text("CRASH" if number == 5 else f"note {number}")
    wait_for(lambda: set(failures(served)) == {("Note 05.md", "summary")}, "the failure")
    for number in range(12):
        if number != 5:
            assert "summary" in processed(served, f"Note {number:02}.md")["data"], number
    assert "3 attempts" in failures(served)[("Note 05.md", "summary")]
    # It serves on, and the note that is its end is left alone.
    wait_for(lambda: state_of(served, "reader") == "active", "the restart")
    (served.vault / "After.md").write_text("after")
    assert "summary" in wait_for(lambda: processed(served, "After.md"), "the note after")["data"]
    assert command(served, "plugins", "reload", "reader").returncode == 0
    (served.vault / "Later.md").write_text("later")
    assert "summary" in wait_for(lambda: processed(served, "Later.md"), "the note after the reload")["data"]
    assert set(failures(served)) == {("Note 05.md", "summary")}


def test_a_processor_that_leaves_and_returns_goes_on_where_it_was(served):
    path = build(served)
    kept = processed(served, "Welcome.md")["data"]
    library = path.read_bytes()
    path.unlink()
    wait_for(lambda: state_of(served, "reader") == "unknown", "the removal")
    for number in range(30):
        (served.vault / f"Meanwhile {number}.md").write_text(f"meanwhile {number}")
    found = wait_for(lambda: processed(served, "Meanwhile 7.md"), "the processing without it")
    assert set(found["data"]) == {"metadata", "links", "tasks"}
    path.write_bytes(library)
    wait_for(lambda: state_of(served, "reader") == "active", "the return")
    wait_for(lambda: "summary" in processed(served, "Meanwhile 7.md")["data"], "the processing with it")
    assert processed(served, "Welcome.md")["data"] == kept
    # Reloads in the middle of much work lose nothing.
    for number in range(60):
        (served.vault / f"Much {number}.md").write_text(f"much {number}")
        if number % 15 == 0:
            assert command(served, "plugins", "reload", "reader" if number % 2 else "obsidian").returncode == 0
    for number in range(60):
        assert "summary" in wait_for(lambda: processed(served, f"Much {number}.md"), f"note {number}")["data"]
    assert failures(served) == {}
