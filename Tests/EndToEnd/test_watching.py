"""What other programs do with the files of a vault is in the answers at once: editors' ways to save, folders, and many files."""

import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest

from knap_host import wait_for


def found(place, query):
    answer = place.call("vault.search_notes", query=query, limit=100)
    return sorted(note["path"] for note in answer["notes"])


def wait_until(place, query, paths):
    last = []

    def is_so():
        last[:] = found(place, query)
        return last == paths

    try:
        wait_for(is_so, query)
    except AssertionError:
        raise AssertionError(f"{query}: found {last}, expected {paths}")


@pytest.fixture
def served(place):
    for note in place.vault.rglob("*.md"):
        note.unlink()
    (place.vault / "Note.md").write_text("# Note\nbefore\n")
    place.serve()
    place.wait_until_indexed()
    return place


def vim(note, word):
    """The real one, with the backup and swap file that it has by itself."""
    done = subprocess.run(
        ["vim", "-u", "NONE", "-N", "--not-a-term", "-es", "-c", "set writebackup swapfile", "-c", f"normal Go{word}", "-c", "wq", note.name],
        cwd=note.parent, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.returncode == 0, done


def vim_by_rename(note, word):
    """What Vim calls with `backupcopy=no`: a probe named 4913, the note moved to its backup, and a new file in its place."""
    probe, backup = note.with_name("4913"), note.with_name(note.name + "~")
    os.close(os.open(probe, os.O_CREAT | os.O_WRONLY | os.O_EXCL))
    probe.unlink()
    text = note.read_text()
    note.rename(backup)
    note.write_text(f"{text}{word}\n")
    backup.unlink()


def visual_studio_code(note, word):
    """Truncates the file that it has open for writing, then writes it in parts."""
    text = f"{note.read_text()}{word}\n".encode()
    file = os.open(note, os.O_WRONLY)
    os.ftruncate(file, 0)
    for start in range(0, len(text), 7):
        os.write(file, text[start:start + 7])
    os.fsync(file)
    os.close(file)


def obsidian(note, word):
    """Node's writeFile: opened for writing with O_TRUNC; then it sets the times."""
    text = f"{note.read_text()}{word}\n".encode()
    file = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.write(file, text)
    os.close(file)
    os.utime(note, (1_700_000_000, 1_700_000_000))


def syncthing(note, word):
    """A hidden temporary file beside it, with the times of the other side, moved over the note."""
    fresh = note.with_name(f".syncthing.{note.name}.tmp")
    fresh.write_text(f"{note.read_text()}{word}\n")
    os.utime(fresh, (1_600_000_000, 1_600_000_000))
    fresh.rename(note)


def hard_link(note, word):
    """Unlinked, and another file linked in its place."""
    other = note.parent.parent / "elsewhere"
    other.write_text(f"{note.read_text()}{word}\n")
    note.unlink()
    os.link(other, note)
    other.unlink()


@pytest.mark.parametrize("save", [
    pytest.param(vim, marks=pytest.mark.skipif(not shutil.which("vim"), reason="vim is not installed")),
    vim_by_rename, visual_studio_code, obsidian, syncthing, hard_link])
def test_what_an_editor_saves_is_found_and_what_it_leaves_behind_is_not(served, save):
    note = served.vault / "Note.md"
    for number in range(5):
        save(note, f"fresh{number}")
        wait_until(served, f"before fresh{number}", ["Note.md"])
    assert served.call("vault.list_notes")["notes"] == ["Note.md"]
    assert served.call("vault.search_notes", query="fresh4")["notes"][0]["lines"][0]["text"] == "fresh4"


def test_a_note_that_is_written_slowly_is_found_whole_when_it_is_closed(served):
    with (served.vault / "Log.md").open("w") as log:
        for number in range(20):
            log.write(f"line{number}\n")
            log.flush()
            assert found(served, "before") == ["Note.md"]
    wait_until(served, "line0 line19", ["Log.md"])


def test_moved_and_removed_folders_take_their_notes_along(served):
    vault = served.vault
    (vault / "a/deep").mkdir(parents=True)
    (vault / "a/deep/One.md").write_text("onlyone [[Note]]")
    wait_until(served, "onlyone", ["a/deep/One.md"])
    (vault / "a").rename(vault / "b")
    wait_until(served, "onlyone", ["b/deep/One.md"])
    # The folder that came is watched, also below.
    (vault / "b/deep/One.md").write_text("changed [[Note]]")
    wait_until(served, "changed", ["b/deep/One.md"])
    assert found(served, "onlyone") == []
    assert served.call("vault.note_links", path="Note.md")["backlinks"][0]["path"] == "b/deep/One.md"
    # Out of the vault and back under another name.
    (vault / "b").rename(served.root / "outside")
    wait_until(served, "changed", [])
    (served.root / "outside/deep/One.md").write_text("elsewhere")
    (served.root / "outside").rename(vault / "c")
    wait_until(served, "elsewhere", ["c/deep/One.md"])
    # A name that was another folder's a moment ago.
    (vault / "c").rename(vault / "d")
    (vault / "c/deep").mkdir(parents=True)
    (vault / "c/deep/Two.md").write_text("elsewhere")
    wait_until(served, "elsewhere", ["c/deep/Two.md", "d/deep/One.md"])
    shutil.rmtree(vault / "c")
    wait_until(served, "elsewhere", ["d/deep/One.md"])
    (vault / "d/deep/One.md").rename(vault / "d/deep/Renamed.md")
    wait_until(served, "elsewhere", ["d/deep/Renamed.md"])


def write_many(vault, word):
    for number in range(10_000):
        folder = vault / f"many{number % 20}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.md").write_text(f"{word} number{number}x [[Note]]\n")


def count(place, query):
    return place.call("vault.search_notes", query=query, limit=1)["total"]


@pytest.mark.storms
def test_ten_thousand_files_at_once_are_all_found(served):
    write_many(served.vault, "first")
    wait_for(lambda: count(served, "first") == 10_000, "10,000 notes")
    # They change where they are: 10,000 events of files that are known.
    write_many(served.vault, "second")
    wait_for(lambda: count(served, "second") == 10_000 and count(served, "first") == 0, "10,000 changed notes")
    served.wait_until_indexed()
    for folder in served.vault.glob("many*"):
        shutil.rmtree(folder)
    wait_for(lambda: count(served, "second") == 0, "the end of 10,000 notes")
    assert found(served, "before") == ["Note.md"]


@pytest.fixture
def short_queue():
    """The kernel drops events sooner than it does by itself."""
    limit = pathlib.Path("/proc/sys/fs/inotify/max_queued_events")
    before = limit.read_text()
    try:
        limit.write_text("8")
    except OSError:
        pytest.skip("the queue's length cannot be set here")
    yield
    limit.write_text(before)


def test_events_that_the_kernel_drops_are_made_good_by_comparing_everything(short_queue, served):
    folder = served.vault / "burst"
    folder.mkdir()
    for round in range(5):
        for number in range(300):
            (folder / f"{number}.md").write_text(f"round{round}x\n")
        for number in range(0, 300, 3):
            (folder / f"{number}.md").unlink()
        wait_for(lambda: count(served, f"round{round}x") == 200, f"round {round}")


def test_a_file_that_was_only_touched_is_not_read_into_the_index_again(served):
    """Its time is the new one, and the answers are the same."""
    note = served.vault / "Note.md"
    os.utime(note, (1_700_000_000, 1_700_000_000))
    served.processes[-1].terminate()
    served.processes[-1].wait()
    served.serve()
    served.wait_until_indexed()
    assert served.call("vault.recent_changes")["notes"][0]["modified"].startswith("2023-11-14")
    assert found(served, "before") == ["Note.md"]


def damage(index):
    """All but the first page, so that it is opened as if it were whole."""
    size = index.stat().st_size
    with index.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))


def test_a_damaged_index_is_built_anew_at_the_start_and_while_it_is_used(served):
    for number in range(300):
        (served.vault / f"{number}.md").write_text(f"steady number{number}x " * 40)
    wait_for(lambda: count(served, "steady") == 300, "300 notes")
    [index] = served.state.rglob("index-*.sqlite")
    served.processes[-1].terminate()
    served.processes[-1].wait()
    damage(index)
    served.serve()
    wait_for(lambda: ask(served, "steady") == 300, "an index built anew at the start")
    served.wait_until_indexed()
    # The log is in the file, and readers that come have seen none of it.
    served.processes[-1].terminate()
    served.processes[-1].wait()
    served.serve()
    served.wait_until_indexed()
    damage(index)
    (served.vault / "0.md").write_text("steady and later")
    wait_for(lambda: ask(served, "steady") == 300 and ask(served, "later") == 1, "an index built anew while it was used")
    assert served.call("vault.write_note", path="Last.md", content="lastword").get("warning") is None
    assert found(served, "lastword") == ["Last.md"]


def ask(place, query):
    """How many notes; nothing while the answer is that the index is damaged."""
    asked = place.knap("call", "vault.search_notes", f'{{"query": "{query}"}}', "--state", str(place.state), "--json")
    if asked.returncode:
        assert re.search("damaged and is being built anew", asked.stderr), asked.stderr
        return None
    return int(re.search(r'"total":\s*(\d+)', asked.stdout).group(1))
