"""Disks that are full or cannot be written: the host says so, serves what it can, loses no note, and recovers."""

import json
import os
import shutil
import signal

import pytest

from knap_host import wait_for
from small_disk import disk  # noqa: F401
from test_live_changes import command
from test_workers import attempt


def commands(place):
    return [("serve", "--vault", str(place.vault), "--state", str(place.state), "--port", "0"), place.relay_arguments()]


def found(place, query):
    return [note["path"] for note in place.call("vault.search_notes", query=query)["notes"]]


def problems(place):
    return json.loads(command(place, "doctor", "--json").stdout)["problems"]


def stop(place):
    place.processes[-1].send_signal(signal.SIGTERM)
    assert place.processes[-1].wait(60) == 0


@pytest.mark.parametrize("which", [0, 1], ids=["serve", "mcp"])
def test_a_new_state_directory_on_a_read_only_disk_is_refused_with_what_to_do(place, disk, which):
    place.state = disk.mount / "state"
    disk.make_writable(False)
    done = place.knap(*commands(place)[which])
    assert done.returncode == 77 and done.stdout == ""
    assert str(place.state) in done.stderr and "read-only" in done.stderr and "--state" in done.stderr


@pytest.mark.parametrize("which", [0, 1], ids=["serve", "mcp"])
def test_a_new_state_directory_on_a_full_disk_is_refused_with_what_to_do(place, disk, which):
    place.state = disk.mount / "state"
    disk.fill()
    done = place.knap(*commands(place)[which])
    assert done.returncode in (69, 74) and done.stdout == ""
    assert str(place.state) in done.stderr and "full" in done.stderr and "--state" in done.stderr
    disk.make_room()
    place.serve()
    place.wait_until_indexed()


@pytest.mark.parametrize("which", [0, 1], ids=["serve", "mcp"])
def test_a_state_directory_that_became_read_only_is_refused_with_what_to_do(place, disk, which):
    place.state = disk.mount / "state"
    place.serve()
    place.wait_until_indexed()
    stop(place)
    disk.make_writable(False)
    done = place.knap(*commands(place)[which])
    assert done.returncode and done.stdout == ""
    assert str(place.state) in done.stderr and "read-only" in done.stderr.lower() and "--state" in done.stderr
    disk.make_writable(True)
    place.serve()
    assert found(place, "soil")


def test_a_disk_of_the_state_that_fills_up_costs_no_note_and_no_reading(place, disk):
    place.state = disk.mount / "state"
    place.serve()
    place.wait_until_indexed()
    disk.fill()
    # Reading and searching go on.
    assert found(place, "soil") and place.call("vault.read_note", path="Ideas.md")["content"]
    # A note is written, and the answer says what the index cannot do.
    written = place.call("vault.write_note", path="New.md", content="brandnew words " * 2000)
    assert "search does not know it yet" in written["warning"] and "full" in written["warning"]
    assert (place.vault / "New.md").read_text() == "brandnew words " * 2000
    edited = place.call("vault.edit_note", path="Ideas.md", action="append", content="appended words " * 2000)
    assert "full" in edited["warning"] and (place.vault / "Ideas.md").read_text().endswith("appended words \n")
    assert "New.md" in place.call("vault.list_notes")["notes"]
    assert place.call("vault.read_note", path="New.md")["version"] == written["version"]
    assert "indexing" in place.call("vault.search_notes", query="soil")
    assert any("search lags behind" in each["problem"] for each in problems(place))
    # What cannot be kept is refused.
    refused = attempt(place, "host.config_set", name="gateway", key="port", value=8811)
    assert refused.returncode and "nothing was changed" in refused.stderr
    # A host that is killed starts on the full disk, with all notes.
    place.processes[-1].kill()
    place.processes[-1].wait()
    place.serve()
    assert place.call("vault.read_note", path="New.md")["version"] == written["version"]
    assert found(place, "soil")
    # With space it catches up by itself.
    disk.make_room()
    wait_for(lambda: found(place, "brandnew") == ["New.md"] and found(place, "appended") == ["Ideas.md"], "the index's catching up")
    place.wait_until_indexed()
    assert problems(place) == []
    assert "warning" not in place.call("vault.write_note", path="Later.md", content="later words")


def test_a_full_disk_of_the_vault_leaves_every_note_whole(place, disk):
    shutil.copytree(place.vault, disk.path / "vault")
    place.vault = disk.mount / "vault"
    seen = disk.path / "vault"
    place.serve()
    place.wait_until_indexed()
    disk.fill()
    before = {path: path.read_bytes() for path in seen.rglob("*") if path.is_file()}
    long = "many words " * 5000
    for method, arguments in [
        ("write_note", {"path": "New.md", "content": long}),
        ("write_note", {"path": "Ideas.md", "content": long, "overwrite": True}),
        ("edit_note", {"path": "Ideas.md", "action": "append", "content": long}),
    ]:
        refused = attempt(place, f"vault.{method}", **arguments)
        assert refused.returncode == 75 and "full" in refused.stderr and "as it was" in refused.stderr, refused
        assert {path: path.read_bytes() for path in seen.rglob("*") if path.is_file()} == before
    assert found(place, "soil") and not found(place, "many")
    disk.make_room()
    place.call("vault.write_note", path="New.md", content=long)
    assert found(place, "many") == ["New.md"] and (seen / "New.md").read_text() == long


def test_a_batch_on_a_full_disk_of_the_vault_does_nothing(place, disk):
    shutil.copytree(place.vault, disk.path / "vault")
    place.vault = disk.mount / "vault"
    seen = disk.path / "vault"
    place.serve()
    place.wait_until_indexed()
    disk.fill()
    before = {path: path.read_bytes() for path in seen.rglob("*") if path.is_file()}
    # The first ones may still fit.
    operations = [{"operation": "edit", "path": "Ideas.md", "content": "x"}, {"operation": "delete", "path": "Welcome.md"},
                  {"operation": "write", "path": "New/Long.md", "content": "many words " * 5000}]
    refused = attempt(place, "vault.batch", operations=operations)
    assert refused.returncode == 75 and "full" in refused.stderr, refused
    assert {path: path.read_bytes() for path in seen.rglob("*") if path.is_file()} == before
    assert not (seen / "New").exists()
    disk.make_room()
    assert len(place.call("vault.batch", operations=operations)["files"]) == 3 and found(place, "many") == ["New/Long.md"]


def test_a_vault_on_a_read_only_disk_is_read_and_says_that_it_cannot_be_written(place, disk):
    shutil.copytree(place.vault, disk.path / "vault")
    place.vault = disk.mount / "vault"
    seen = disk.path / "vault"
    disk.make_writable(False)
    place.serve()
    place.wait_until_indexed()
    before = {path: path.read_bytes() for path in seen.rglob("*") if path.is_file()}
    assert found(place, "soil") and place.call("vault.read_note", path="Ideas.md")["content"]
    for method, arguments in [
        ("write_note", {"path": "New.md", "content": "x"}), ("write_note", {"path": "f/g/New.md", "content": "x"}),
        ("edit_note", {"path": "Ideas.md", "content": "x"}), ("delete_note", {"path": "Ideas.md"}),
        ("move_note", {"path": "Ideas.md", "to": "f/Ideas.md"}),
        ("batch", {"operations": [{"operation": "edit", "path": "Ideas.md", "content": "x"}]}),
    ]:
        refused = attempt(place, f"vault.{method}", **arguments)
        assert refused.returncode == 77 and "Read-only" in refused.stderr, (method, refused)
    assert place.call("vault.edit_note", path="Ideas.md", content="x", preview=True)["content"].endswith("+x\n")
    assert {path: path.read_bytes() for path in seen.rglob("*") if path.is_file()} == before
    assert place.call("vault.history")["total"] == 0
    disk.make_writable(True)
    place.call("vault.edit_note", path="Ideas.md", content="x")


@pytest.mark.faults
def test_a_plugin_that_does_not_fit_on_the_disk_is_refused_and_taken_when_it_does(place, disk):
    import plugins
    from test_workers import state_of

    place.state = disk.mount / "state"
    place.serve()
    library = plugins.build(place.root / "built", "steady")
    dropped = disk.path / "state/plugins/steady.so"
    # The drop directory has room for it, the store has not.
    with open(disk.path / "filler", "wb") as filler:
        room = os.statvfs(disk.path)
        filler.write(bytes((room.f_bavail * room.f_bsize) - library.stat().st_size - 8192))
    shutil.copy(library, dropped)
    wait_for(lambda: any("steady.so" in json.dumps(each) and "full" in each["problem"] for each in problems(place)), "the refusal")
    assert place.call("vault.read_note", path="Ideas.md")["content"]
    disk.make_room()
    os.utime(dropped)
    wait_for(lambda: state_of(place, "steady") == "active", "the start")
