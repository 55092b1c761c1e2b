"""Files that are no plugins, or lie, or do not fit together: each is refused with its reason, and the rest goes on serving."""

import json
import shutil
import subprocess

import pytest

import plugins
from knap_host import Place, wait_for
from test_live_changes import command
from test_workers import attempt, info, state_of


@pytest.fixture(scope="module")
def place():
    made = Place()
    made.serve()
    plugins.drop(made, plugins.build(made.root / "built", "steady"))
    wait_for(lambda: state_of(made, "steady") == "active", "the start of steady")
    yield made
    made.close()


def build(place, name, **options):
    return plugins.build(place.root / "built", name, source="staying.c", **options)


def problems(place):
    return json.loads(command(place, "doctor", "--json").stdout)["problems"]


def complaint(place, subject, *words):
    """The problem of this subject that has all of these words, once there is one."""
    def found():
        return next((each["problem"] for each in problems(place)
                     if subject in each["subject"] + each["problem"] and all(word in each["problem"] for word in words)), None)

    return wait_for(found, f"a complaint about {subject} with {words}")


def serves_on(place):
    assert json.loads(attempt(place, "test.steady.echo").stdout) is not None
    assert place.call("vault.read_note", path="Ideas.md")["content"]


def overwrite(library, offset, content):
    bytes_ = bytearray(library.read_bytes())
    bytes_[offset:offset + len(content)] = content
    library.write_bytes(bytes_)


def corrupt(place, library):
    overwrite(library, 32, b"\xff" * 8)


def truncated(place, library):
    library.write_bytes(library.read_bytes()[:3000])


def foreign_architecture(place, library):
    overwrite(library, 18, (183).to_bytes(2, "little"))


def not_a_plugin(place, library):
    source = library.with_suffix(".c")
    source.write_text("int something;\n")
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)


def text(place, library):
    library.write_text("this is a note, not a library\n")


def program(place, library):
    shutil.copy("/bin/true", library)


@pytest.mark.parametrize("spoil, words", [
    (corrupt, []), (truncated, ["cut short"]), (foreign_architecture, ["built for"]), (not_a_plugin, ["not a Knap plugin"]),
    (text, ["ELF"]), (program, []),
])
def test_a_file_that_is_no_plugin_of_this_host_is_refused_with_the_reason(place, spoil, words):
    library = build(place, spoil.__name__.replace("_", "-"))
    spoil(place, library)
    dropped = plugins.drop(place, library)
    assert complaint(place, dropped.name, *words)
    serves_on(place)
    # It is forgotten when it goes.
    dropped.unlink()
    wait_for(lambda: dropped.name not in json.dumps(problems(place)), "the end of the complaint")


def promise(name, version="1.0.0", methods=("version",)):
    service = {"service": f"test.{name}", "version": version, "methods": [{"name": each} for each in methods]}
    return {"manifest": 1, "name": name, "version": version, "abi": "draft", "provides": [service] if methods else []}


LIES = {
    "name": (promise("lies-other"), "calls itself 'lies-name'"), "version": (promise("lies-version", "9.0.0"), "is version '1.0.0'"),
    "missing": (promise("lies-missing", methods=("version", "more")), "has no method test.lies-missing.more"),
    "extra": (promise("lies-extra", methods=()), "not promised"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_lies_about_its_library_keeps_it_from_starting(place, lie):
    manifest, reason = LIES[lie]
    library = build(place, f"lies-{lie}")
    subprocess.run(["objcopy", "--remove-section", ".knap", str(library)], check=True)
    plugins.embed(library, manifest)
    dropped = plugins.drop(place, library)
    assert complaint(place, manifest["name"], "disagrees with its manifest", reason)
    serves_on(place)
    dropped.unlink()


def test_a_manifest_with_a_field_that_nobody_knows_is_an_error_with_its_place(place):
    dropped = plugins.drop(place, build(place, "unknown-field", colour="green"))
    reason = complaint(place, dropped.name, "colour")
    assert "line" in reason or ":1:" in reason, reason
    dropped.unlink()


def test_a_manifest_beside_the_library_must_agree_with_the_one_inside(place):
    library = build(place, "two-minds")
    sidecar = place.state / "plugins/two-minds.json"
    sidecar.write_text('{"manifest": 1, "name": "two-minds", "version": "2.0.0", "abi": "draft"}')
    dropped = plugins.drop(place, library)
    assert complaint(place, "two-minds.so", "differ at", "remove one of the two")
    serves_on(place)
    sidecar.unlink()
    wait_for(lambda: state_of(place, "two-minds") == "active", "the start with one manifest")
    dropped.unlink()


def test_a_requirement_that_nobody_meets_is_named_with_the_whole_chain(place):
    needs = lambda service: {"requires": [{"service": service, "version": "^1.0"}]}  # noqa: E731
    first = plugins.drop(place, build(place, "chain-a", **needs("test.chain-b")))
    second = plugins.drop(place, build(place, "chain-b", **needs("test.chain-nowhere")))
    assert complaint(place, "chain-b", "test.chain-nowhere")
    assert complaint(place, "chain-a", "chain-b", "test.chain-nowhere")
    serves_on(place)
    # The missing one comes, and all of them start.
    third = plugins.drop(place, build(place, "chain-nowhere"))
    for name in ("chain-nowhere", "chain-b", "chain-a"):
        wait_for(lambda: state_of(place, name) == "active", f"the start of {name}")
    for file in (first, second, third):
        file.unlink()


def test_a_circle_of_requirements_is_named(place):
    files = [plugins.drop(place, build(place, f"circle-{own}", requires=[{"service": f"test.circle-{other}", "version": "^1.0"}]))
             for own, other in ("ab", "bc", "ca")]
    for name in "abc":
        assert complaint(place, f"circle-{name}", "lead back to themselves", "circle-a", "circle-b", "circle-c")
    serves_on(place)
    for file in files:
        file.unlink()


def test_of_two_that_conflict_one_is_left_out_with_the_reason(place):
    first = plugins.drop(place, build(place, "rival-a", conflicts=["rival-b"]))
    wait_for(lambda: state_of(place, "rival-a") == "active", "the start of rival-a")
    second = plugins.drop(place, build(place, "rival-b"))
    assert complaint(place, "rival-b", "conflict", "rival-a")
    assert state_of(place, "rival-a") == "active"
    serves_on(place)
    for file in (first, second):
        file.unlink()


def test_of_two_plugins_of_one_name_the_second_is_refused_and_both_files_are_named(place):
    library = build(place, "twin")
    first = plugins.drop(place, library)
    wait_for(lambda: state_of(place, "twin") == "active", "the start of twin")
    second = place.state / "plugins/another.so"
    shutil.copy(library, second)
    assert complaint(place, "another.so", "a plugin 'twin' is already there", str(first), "remove one of the two")
    assert info(place, "twin")["source"] == str(first)
    serves_on(place)
    for file in (second, first):
        file.unlink()


def test_a_note_path_that_climbs_out_is_refused_also_through_links(place):
    outside = place.root / "outside"
    outside.mkdir()
    (outside / "secret.md").write_text("secret\n")
    (place.vault / "Out").symlink_to(outside)
    (place.vault / "Secret.md").symlink_to(outside / "secret.md")
    (place.vault / "Up").symlink_to("..")
    for path in ("../outside/secret.md", "Garden/../../outside/secret.md", "Out/secret.md", "Secret.md", "Up/outside/secret.md",
                 "Garden/..//../outside/secret.md"):
        for method, arguments in [
            ("read_note", {}), ("write_note", {"content": "x", "overwrite": True}), ("edit_note", {"action": "append", "content": "x"}),
            ("move_note", {"to": "Mine.md"}), ("delete_note", {}), ("note_links", {}),
        ]:
            refused = attempt(place, f"vault.{method}", path=path, **arguments)
            assert refused.returncode and "secret\n" not in refused.stdout, (method, path, refused)
    # A path that begins at the root begins at the vault's.
    assert attempt(place, "vault.read_note", path=str(outside / "secret.md")).returncode
    for to in ("../outside/stolen.md", "Out/stolen.md", "Up/stolen.md"):
        assert attempt(place, "vault.move_note", path="Ideas.md", to=to).returncode
        assert attempt(place, "vault.write_note", path=to, content="x").returncode
    assert [path.name for path in outside.iterdir()] == ["secret.md"] and (outside / "secret.md").read_text() == "secret\n"
    assert (place.vault / "Ideas.md").exists() and not (place.root / "stolen.md").exists()
