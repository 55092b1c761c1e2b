"""Search by meaning: notes that answer a question in other words than theirs, with a model that may not be there."""

import asyncio
import json
import pathlib
import shutil

import pytest
from mcp import Client

from knap_host import KNAP, wait_for
from small_disk import disk  # noqa: F401
from test_official_client import http, stdio, text
from test_workers import info

MODEL = pathlib.Path(KNAP).parents[1] / "share/knap/WordLlama"

NOTES = {
    "Kitchen/Bread.md": "---\ntags: [baking]\n---\n# Bread\nMix flour and water.\n\n## Rising\nLet the dough rest with yeast until it has doubled.\n",
    "Kitchen/Soup.md": "# Soup\nCut the onions and carrots, then boil them with salt.\n",
    "Garage/Car.md": "# Car\nThe engine needs new oil and the tyres more air.\n",
    "Garden/Bees.md": "# Bees\nThe hive is full of honey.\n",
    "Garden/Pond.md": "# Pond\nTwo frogs live between the lilies. #animals\n",
}


@pytest.fixture
def noted(place):
    for note in place.vault.rglob("*.md"):
        note.unlink()
    for path, content in NOTES.items():
        (place.vault / path).parent.mkdir(exist_ok=True)
        (place.vault / path).write_text(content)
    return place


@pytest.fixture
def known(noted):
    if not MODEL.exists():
        pytest.skip(f"{MODEL} is missing; Host/run build fetches it")
    return noted


def status(place):
    return place.call("vault.status")["vaults"][0]


def ready(place):
    wait_for(lambda: status(place)["meaning"] == "ready", "the vectors' completion")


def paths(answer):
    return [note["path"] for note in answer["notes"]]


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_a_client_finds_the_part_of_a_note_that_answers_its_question(known, transport):
    server = stdio(known) if transport == "stdio" else http(known, known.serve())

    async def work():
        async with Client(server) as client:
            await asyncio.to_thread(ready, known)

            async def ask(query, mode, **more):
                return json.loads(text(await client.call_tool("search_notes", {"query": query, "mode": mode, **more})))

            answer = await ask("how to bake a loaf", "meaning")
            best = answer["notes"][0]
            assert best["path"] == "Kitchen/Bread.md"
            assert best["heading"] in ("Bread", "Rising") and best["first_line"] <= best["lines"][0]["line"] <= best["last_line"]
            assert paths(await ask("how to bake a loaf", "words")) == []
            assert paths(await ask("how to bake a loaf", "both"))[0] == "Kitchen/Bread.md"
            # What was written is found before anything else happens.
            await client.call_tool("write_note", {"path": "Sky.md", "content": "# Night\nJupiter and Saturn through a telescope.\n"})
            assert paths(await ask("astronomy, planets", "meaning"))[0] == "Sky.md"
            assert paths(await ask("astronomy, planets", "both"))[0] == "Sky.md"
            await client.call_tool("delete_note", {"path": "Sky.md"})
            assert "Sky.md" not in paths(await ask("astronomy, planets", "meaning"))
            refused = await client.call_tool("search_notes", {"query": "x", "mode": "vectors"})
            assert refused.is_error and "words" in refused.content[0].text and "meaning" in refused.content[0].text

    asyncio.run(work())


@pytest.mark.parametrize("mode", ["meaning", "both"])
def test_folder_operators_pages_and_budget_count_as_in_a_search_for_words(known, mode):
    known.serve()
    ready(known)

    def ask(query, **more):
        return known.call("vault.search_notes", query=query, mode=mode, **more)

    question = "food and animals in the oil"
    whole = ask(question, limit=100)
    assert whole["total"] == len(whole["notes"]) >= 4 and "next_offset" not in whole and "indexing" not in whole
    pages = [ask(question, limit=1, offset=place) for place in range(whole["total"])]
    assert [paths(page)[0] for page in pages] == paths(whole)
    assert [page.get("next_offset") for page in pages] == [*range(1, whole["total"]), None]
    assert paths(ask(question, offset=whole["total"])) == []
    assert 0 < len(ask(question, max_tokens=100)["notes"]) < whole["total"]
    assert set(paths(ask(question, path="kitchen"))) <= {"Kitchen/Bread.md", "Kitchen/Soup.md"}
    assert paths(ask("something to eat tag:baking")) == ["Kitchen/Bread.md"]
    assert "Kitchen/Bread.md" not in paths(ask("something to eat -flour"))
    assert paths(ask('what swims in water "two frogs"')) == ["Garden/Pond.md"]
    result = known.knap("call", "vault.search_notes", json.dumps({"query": "tag:baking", "mode": mode}), "--state", str(known.state))
    assert result.returncode != 0 and "add words" in result.stderr


def test_on_the_command_line(known):
    known.serve()
    ready(known)
    result = known.knap("vault", "search", "how to bake a loaf", "--mode", "both", "--limit", "1", "--state", str(known.state))
    assert result.returncode == 0, result.stderr
    assert "Kitchen/Bread.md" in result.stdout and "Let the dough rest" in result.stdout
    assert "ready" in known.knap("vault", "status", "--state", str(known.state)).stdout


def test_vectors_outlive_a_restart_and_a_broken_file_of_them(known):
    known.serve()
    ready(known)
    process = known.processes[-1]
    process.terminate()
    process.wait(10)
    (store,) = (known.state / "data/obsidian").glob("meaning-*.sqlite")
    for suffix in ["-wal", "-shm"]:
        store.with_name(store.name + suffix).unlink(missing_ok=True)
    store.write_bytes(b"no database" * 1000)
    (known.vault / "Garden/Bees.md").write_text("# Stars\nJupiter and Saturn through a telescope.\n")
    known.serve()
    ready(known)
    found = known.call("vault.search_notes", query="astronomy, planets", mode="meaning")
    assert paths(found)[0] == "Garden/Bees.md"
    # An editor's change is taken in as well.
    (known.vault / "Garage/Car.md").write_text("# Song\nThe violin plays a sad melody.\n")
    wait_for(lambda: paths(known.call("vault.search_notes", query="classical music concert", mode="meaning"))[:1] == ["Garage/Car.md"],
             "the editor's change")


def test_a_full_disk_delays_what_it_cannot_take(known, disk):
    known.state = disk.mount / "state"
    known.serve()
    ready(known)
    disk.fill()
    sentence = "Jupiter and Saturn through a telescope, seen from mountain {}.\n"
    for number in range(40):
        (known.vault / f"Sky {number}.md").write_text("".join(f"# {part}\n" + sentence.format(part) * 12 for part in range(100)))
    wait_for(lambda: not status(known)["ready"] or status(known)["meaning"] == "failed", "the full disk's notice")
    assert paths(known.call("vault.search_notes", query="how to bake a loaf", mode="meaning"))[0] == "Kitchen/Bread.md"
    disk.make_room()
    wait_for(lambda: paths(known.call("vault.search_notes", query="astronomy, planets", mode="meaning", limit=100))[:1] != []
             and status(known)["ready"] and status(known)["meaning"] == "ready", "the new notes' vectors")
    found = paths(known.call("vault.search_notes", query="astronomy, planets", mode="meaning", limit=40))
    assert {f"Sky {number}.md" for number in range(40)} == set(found)


def test_in_a_worker(known):
    known.serve()
    assert known.knap("plugins", "isolate", "obsidian", "worker", "--state", str(known.state)).returncode == 0
    wait_for(lambda: "process" in info(known, "obsidian"), "the worker")
    ready(known)
    assert paths(known.call("vault.search_notes", query="how to bake a loaf", mode="meaning"))[0] == "Kitchen/Bread.md"


@pytest.mark.parametrize("way", ["environment", "setting", "switched off"])
def test_without_its_model_it_says_so_and_all_else_works(noted, way):
    elsewhere = noted.root / "model"
    if way == "environment":
        noted.environment["KNAP_OBSIDIAN_MEANING"] = str(elsewhere)
    else:
        noted.state.mkdir()
        setting = "" if way == "switched off" else str(elsewhere)
        (noted.state / "config.json").write_text(json.dumps({"obsidian": {"meaning": setting}}))
    noted.serve()
    noted.wait_until_indexed()
    assert status(noted)["meaning"] == "absent"
    result = noted.knap(
        "call", "vault.search_notes", json.dumps({"query": "bake a loaf", "mode": "meaning"}), "--state", str(noted.state))
    assert result.returncode != 0 and "mode words" in result.stderr, result.stderr
    assert (str(elsewhere) in result.stderr) == (way != "switched off")
    assert paths(noted.call("vault.search_notes", query="flour water")) == ["Kitchen/Bread.md"]
    answer = noted.call("vault.search_notes", query="how to mix flour", mode="both")
    assert paths(answer)[0] == "Kitchen/Bread.md" and answer["notes"][0]["lines"] and "not available" in answer["notice"]
    if MODEL.exists() and way != "switched off":
        # It may come while the host runs.
        shutil.copytree(MODEL, elsewhere)
        noted.call("vault.search_notes", query="bake a loaf", mode="both")
        ready(noted)
        assert paths(noted.call("vault.search_notes", query="bake a loaf", mode="meaning"))[0] == "Kitchen/Bread.md"
