"""What the application's settings in the vault say is followed, also when they change and when their folder has another name."""

import json
import os

import pytest

from knap_host import wait_for


@pytest.fixture
def served(place):
    (place.vault / "Archive").mkdir()
    (place.vault / "Archive/Old.md").write_text("quagga [[Old two]]")
    (place.vault / "Old two.md").write_text("quagga [[Old]]")
    (place.vault / "New.md").write_text("quagga")
    place.environment["XDG_DATA_HOME"] = str(place.root / "data")
    (place.root / "data").mkdir()
    place.serve()
    place.wait_until_indexed()
    return place


def settings(place, folder=".obsidian", **values):
    (place.vault / folder).mkdir(exist_ok=True)
    (place.vault / folder / "app.json").write_text(json.dumps(values))


def found(place, query="quagga"):
    answer = place.call("vault.search_notes", query=query)
    assert answer["total"] == len(answer["notes"])
    return {note["path"] for note in answer["notes"]}


def test_excluded_files_are_left_out_of_searches_and_links_still_lead_to_them(served):
    everything = {"Archive/Old.md", "Old two.md", "New.md"}
    assert found(served) == everything
    settings(served, userIgnoreFilters=["archive/"])
    assert found(served) == {"Old two.md", "New.md"} == found(served, "quagg") == found(served, "/quagga/")
    assert [each.get("path") for each in served.call("vault.note_links", path="Old two.md")["outgoing"]] == ["Archive/Old.md"]
    assert served.call("vault.read_note", path="Archive/Old.md")["content"].startswith("quagga")
    settings(served, userIgnoreFilters=["/^old .*\\.md$/", "/(broken/"])
    assert found(served) == {"Archive/Old.md", "New.md"}
    assert served.call("vault.search_notes", query="quagga -New", path="Archive")["total"] == 1
    settings(served)
    assert found(served) == everything


def test_excluded_files_are_left_out_of_the_graph_of_mentions_and_of_search_by_meaning(served):
    (served.vault / "Archive/Broken.md").write_text("[[Nowhere]] and the New one")
    (served.vault / "Hub.md").write_text("[[Old]] [[Old two]]")
    served.wait_until_indexed()
    wait_for(lambda: served.call("vault.graph", path="Hub.md")["total"] == 2, "the graph")

    def answers():
        return (
            {note["path"] for note in served.call("vault.graph", path="Hub.md")["notes"]},
            {link["path"] for link in served.call("vault.graph", find="broken")["broken"]},
            {note["path"] for note in served.call("vault.mentions", path="New.md")["notes"]},
            {note["path"] for note in served.call("vault.search_notes", query="quagga", mode="both")["notes"]} & {"Archive/Old.md"},
        )

    assert answers() == ({"Archive/Old.md", "Old two.md"}, {"Archive/Broken.md"}, {"Archive/Broken.md"}, {"Archive/Old.md"})
    settings(served, userIgnoreFilters=["Archive/"])
    assert answers() == ({"Old two.md"}, set(), set(), set())


def test_the_folder_of_settings_may_have_another_name(served):
    (served.vault / ".obsidian/app.json").unlink(missing_ok=True)
    settings(served, ".obsidian-desk", userIgnoreFilters=["Archive/"])
    assert found(served) == {"Old two.md", "New.md"}


@pytest.mark.parametrize("option, place_of", [(None, "vault"), ("local", "vault"), ("system", "data"), ("none", None)])
def test_deleted_notes_go_where_the_settings_say_and_can_be_had_back(served, option, place_of):
    settings(served, **({"trashOption": option} if option else {}))
    deleted = served.call("vault.delete_note", path="New.md")
    assert not (served.vault / "New.md").exists()
    trashed = [path for path in [*served.root.joinpath("data").rglob("New.md"), *served.vault.rglob("New.md")]]
    if place_of is None:
        assert trashed == [] and "trashed" not in deleted
    elif place_of == "data":
        assert trashed == [served.root / "data/Trash/files/New.md"] and deleted["trashed"] == str(trashed[0])
        info = (served.root / "data/Trash/info/New.md.trashinfo").read_text()
        assert info.startswith(f"[Trash Info]\nPath={served.vault}/New.md\nDeletionDate=20")
    else:
        assert trashed == [served.vault / ".trash/New.md"] and deleted["trashed"] == ".trash/New.md"
    served.call("vault.undo", changes=[deleted["change"]])
    assert (served.vault / "New.md").read_text() == "quagga"
    # What was deleted before under one name is kept beside it.
    if option == "system":
        served.call("vault.delete_note", path="New.md")
        assert sorted(os.listdir(served.root / "data/Trash/files")) == ["2 New.md", "New.md"]
