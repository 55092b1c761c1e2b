"""A plugin's author, with `knap` and the language's own tools: from nothing to a served tool and away again."""

import functools
import json
import pathlib
import re
import shutil
import subprocess

import pytest

import plugins
from callers import Callers
from knap_host import wait_for
from test_live_changes import command
from test_workers import attempt, state_of

# What builds, and what runs the tests, of each language.
LANGUAGES = {
    "c": ("cc", ["make", "-s", "test"]),
    "cpp": ("c++", ["make", "-s", "test"]),
    "rust": ("cargo", ["cargo", "test", "--offline", "--quiet"]),
    "swift": ("swift", ["swift", "test", "--quiet"]),
    "swift-embedded": ("swiftc", ["make", "-s", "test"]),
}
# Their tests take minutes to build.
SLOW = {"swift"}


def knap(place, *arguments, timeout=300):
    done = place.knap(*arguments, timeout=timeout)
    assert done.returncode == 0, done.stderr
    return done.stdout


def new(place, language, name="word-count"):
    directory = place.root / name
    knap(place, "plugins", "new", name, "--lang", language, "--dir", str(directory))
    return directory


@pytest.mark.parametrize("language", ["c", *[pytest.param(each, marks=pytest.mark.compilers) for each in LANGUAGES if each != "c"]])
def test_a_new_project_builds_serves_reloads_and_is_removed(place, language):
    compiler, test = LANGUAGES[language]
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not on this machine")
    directory = new(place, language)
    for path in directory.rglob("*"):
        assert path.is_dir() or not re.search(rb"@\w+@", path.read_bytes()), f"{path} has a place that was not filled"
        assert path.is_dir() or str(plugins.ROOT).encode() not in path.read_bytes(), f"{path} knows of the checkout"
    if language not in SLOW:
        subprocess.run(test, cwd=directory, check=True, timeout=300)
    built = pathlib.Path(knap(place, "plugins", "build", str(directory)).strip())
    assert built == directory / "word-count.so"

    facts = json.loads(knap(place, "plugins", "inspect", str(built), "--json"))
    assert facts["name"] == "word-count" and facts["language"] == language
    assert facts["library"]["exports"] == ["knap_plugin_draft"] and not facts.get("warnings"), facts

    place.serve()
    on_host = functools.partial(command, place)
    on_host("plugins", "install", str(built))
    wait_for(lambda: state_of(place, "word-count") == "active", "the start of the plugin")
    method = "com.example.word-count.count_words"
    assert place.call(method, text="one two  three") == {"words": 3}
    assert attempt(place, method).returncode == 65
    with Callers(place, method, arguments={"text": "a b"}) as callers:
        for _ in range(5):
            assert on_host("plugins", "reload", "word-count").returncode == 0
            callers.wait_for_more(20)
    assert callers.results and not callers.failures, callers.failures[:3]
    on_host("plugins", "remove", "word-count")
    assert attempt(place, method, text="").returncode == 69


@pytest.mark.parametrize("name", ["Words", "1st", "note quiz", "../up", "", "-x", "ünder", "a" * 64])
def test_a_name_that_no_plugin_may_have_makes_no_project(place, name):
    refused = place.knap("plugins", "new", "--lang", "c", "--dir", str(place.root / "project"), "--", name)
    assert refused.returncode == 64 and "cannot be a plugin's name" in refused.stderr
    assert not (place.root / "project").exists()


@pytest.mark.compilers
@pytest.mark.parametrize("name", ["class", "match", "knap", "com.example.tea-time"])
def test_a_name_that_is_a_word_of_the_language_builds_all_the_same(place, name):
    for language in ["c", "cpp", "rust"]:
        if not shutil.which(LANGUAGES[language][0]):
            continue
        directory = new(place, language, name)
        knap(place, "plugins", "build", str(directory))
        shutil.rmtree(directory)


def test_a_folder_with_something_in_it_is_left_alone(place):
    directory = place.root / "full"
    directory.mkdir()
    (directory / "mine.txt").write_text("mine")
    refused = place.knap("plugins", "new", "words", "--lang", "c", "--dir", str(directory))
    assert refused.returncode == 73 and "--dir" in refused.stderr
    assert [each.name for each in directory.iterdir()] == ["mine.txt"]
    (directory / "mine.txt").unlink()
    knap(place, "plugins", "new", "words", "--lang", "c", "--dir", str(directory))
    assert (directory / "manifest.json").exists()


def test_what_cannot_be_built_says_what_to_do(place):
    directory = new(place, "c", "words")
    source = next((directory / "source").glob("*.c"))
    good = source.read_text()
    source.write_text("int main(")
    broken = place.knap("plugins", "build", str(directory), timeout=60)
    assert broken.returncode == 65 and "error:" in broken.stderr and "messages are above" in broken.stderr
    source.write_text(good)
    (directory / "manifest.json").write_text("{}")
    assert "manifest" in place.knap("plugins", "build", str(directory)).stderr
    (directory / "manifest.json").unlink()
    assert "knap plugins new" in place.knap("plugins", "build", str(directory)).stderr
    assert place.knap("plugins", "build", str(place.root / "nowhere")).returncode == 66


class TestPacking:
    def test_a_manifest_is_replaced_and_the_library_stays_what_it_was(self, place):
        library = plugins.build(place.root / "built", "plain", source="staying.c")
        before = json.loads(knap(place, "plugins", "inspect", str(library), "--json"))
        manifest = place.root / "manifest.json"
        manifest.write_text(json.dumps({**before["manifest"], "description": "Another one.", "version": "1.0.0"}))
        for round in range(3):
            knap(place, "plugins", "pack", str(library), str(manifest))
            after = json.loads(knap(place, "plugins", "inspect", str(library), "--json"))
            assert after["description"] == "Another one." and after["digest"] != before["digest"]
            assert after["library"]["exports"] == before["library"]["exports"]
        subprocess.run(["readelf", "--all", "--wide", str(library)], check=True, stdout=subprocess.DEVNULL)
        warned = subprocess.run(["readelf", "--all", "--wide", str(library)], capture_output=True, text=True).stderr
        assert not warned, warned
        place.serve()
        command(place, "plugins", "install", str(library))
        wait_for(lambda: state_of(place, "plain") == "active", "the start of the plugin")

    def test_signatures_are_left_out_because_they_were_for_something_else(self, place):
        library = plugins.build(place.root / "built", "plain", source="staying.c")
        manifest = place.root / "manifest.json"
        manifest.write_text(json.dumps(json.loads(knap(place, "plugins", "inspect", str(library), "--json"))["manifest"]))
        knap(place, "plugins", "keygen", str(place.root / "key"))
        knap(place, "plugins", "sign", str(library), "--key", str(place.root / "key"))
        assert json.loads(knap(place, "plugins", "inspect", str(library), "--json"))["signed_by"][0]["fits"]
        output = place.root / "packed.so"
        knap(place, "plugins", "pack", str(library), str(manifest), "--output", str(output))
        assert json.loads(knap(place, "plugins", "inspect", str(output), "--json"))["signed_by"] == []
        assert json.loads(knap(place, "plugins", "inspect", str(library), "--json"))["signed_by"], "the library was changed"

    @pytest.mark.parametrize("content", ["", "{}", "no JSON", '{"manifest": 1, "name": "Bad Name", "version": "1.0.0"}'])
    def test_a_manifest_that_no_host_would_take_is_not_packed(self, place, content):
        library = plugins.build(place.root / "built", "plain", source="staying.c")
        before, manifest = library.read_bytes(), place.root / "manifest.json"
        manifest.write_text(content)
        refused = place.knap("plugins", "pack", str(library), str(manifest))
        assert refused.returncode == 65 and "manifest.json" in refused.stderr
        assert library.read_bytes() == before

    def test_what_is_no_plugin_is_refused_and_said_to_be(self, place):
        text, other = place.root / "text.so", place.root / "other.so"
        text.write_text("no library")
        # Another machine's: the field e_machine says AArch64.
        bytes = bytearray(plugins.build(place.root / "built", "plain", source="staying.c").read_bytes())
        bytes[18:20] = (183).to_bytes(2, "little")
        other.write_bytes(bytes)
        for file, word in [(text, "ELF"), (other, "AArch64"), (place.root / "absent.so", "No such file")]:
            refused = place.knap("plugins", "inspect", str(file))
            assert refused.returncode == 65 and word.lower() in refused.stderr.lower(), refused.stderr
