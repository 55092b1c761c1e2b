"""Plugins that come as a folder, NAME.knap/: with private libraries and data, taken, signed, replaced and removed as one."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

import plugins
from callers import Callers
from knap_host import wait_for
from test_live_changes import command
from test_workers import attempt, info, state_of


@pytest.fixture
def served(place):
    place.serve()
    return place


def build(place, name="words", version="1.0.0", edition="first", text="apple"):
    """A folder in a place of its own, ready to be dropped in."""
    folder = place.root / "built" / f"{version}-{edition}-{text}" / f"{name}.knap"
    (folder / "words").mkdir(parents=True)
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-fvisibility=hidden", f'-DEDITION="{edition}"', str(plugins.SOURCES / "words.c"),
         "-Wl,-soname,libwords.so", "-o", str(folder / "libwords.so")], check=True)
    plugins.build(
        folder, name, version=version, source="folder.c", idempotent={"version", "edition", "list", "place"},
        options=[f"-L{folder}", "-lwords", "-Wl,-rpath,$ORIGIN"])
    (folder / "words/list.txt").write_text(text + "\n")
    return folder


def drop(place, folder):
    """Copies a folder into the drop directory as `cp -r` does, over what is there."""
    target = place.state / "plugins" / folder.name
    shutil.copytree(folder, target, dirs_exist_ok=True)
    return target


def start(place, folder):
    target = drop(place, folder)
    wait_for(lambda: state_of(place, folder.stem) == "active", f"the start of {folder.stem}")
    return target


def refusal(place, path):
    """Why the host refuses what is at this path, once it does."""
    def found():
        problems = json.loads(command(place, "doctor", "--json").stdout)["problems"]
        return next((each["problem"] for each in problems if str(path) in each["subject"] + each["problem"]), None)

    return wait_for(found, f"the refusal of {path}")


@pytest.mark.parametrize("isolation", ["worker", "in-process"])
def test_a_folder_runs_from_the_store_with_its_library_and_its_data(served, isolation):
    dropped = start(served, build(served))
    assert command(served, "plugins", "isolate", "words", isolation).returncode == 0
    wait_for(lambda: info(served, "words")["isolation"] == isolation, "the isolation")
    assert served.call("test.words.edition") == "first"
    assert served.call("test.words.list") == "apple"
    library = pathlib.Path(served.call("test.words.place"))
    assert library.parent.parent == served.state / "store/words"
    assert library.read_bytes() == (dropped / "libwords.so").read_bytes()
    assert library.stat().st_ino != (dropped / "libwords.so").stat().st_ino
    assert not library.stat().st_mode & 0o222


@pytest.mark.parametrize("what", ["data", "private library", "library"])
def test_a_change_of_any_file_replaces_the_whole_without_a_failed_call(served, what):
    start(served, build(served))
    before = info(served, "words")["digest"]
    new = build(served, version="2.0.0" if what == "library" else "1.0.0",
                edition="second" if what == "private library" else "first", text="pear" if what == "data" else "apple")
    method, answer = {"data": ("list", "pear"), "private library": ("edition", "second"), "library": ("version", "2.0.0")}[what]
    with Callers(served, "test.words.version", count=2) as load:
        drop(served, new)
        wait_for(lambda: served.call(f"test.words.{method}") == answer, f"the new {what}")
    assert load.results and not load.failures
    assert info(served, "words")["digest"] != before
    # The same content again is the same plugin, wherever it lies.
    folder = served.state / "plugins/words.knap"
    digest, generation = info(served, "words")["digest"], info(served, "words")["generation"]
    os.utime(folder / "words/list.txt")
    assert command(served, "plugins", "install", str(folder)).returncode == 0
    assert (info(served, "words")["digest"], info(served, "words")["generation"]) == (digest, generation)


def test_what_is_half_copied_is_taken_when_it_is_whole(served):
    new = build(served)
    target = served.state / "plugins/words.knap"
    target.mkdir()
    shutil.copy(new / "words.so", target)
    # Without its private library it cannot be loaded, and says so.
    wait_for(lambda: state_of(served, "words") == "failed", "the failed start")
    assert "libwords.so" in info(served, "words")["reason"]
    (target / "words").mkdir()
    shutil.copy(new / "words/list.txt", target / "words")
    shutil.copy(new / "libwords.so", target)
    wait_for(lambda: state_of(served, "words") == "active", "the start")
    assert served.call("test.words.list") == "apple"


def test_a_folder_that_goes_ends_its_plugin(served):
    target = start(served, build(served))
    shutil.rmtree(target)
    wait_for(lambda: attempt(served, "host.plugin", name="words").returncode, "the end of the plugin")
    assert attempt(served, "test.words.version").returncode


def test_install_upgrade_rollback_and_remove_deal_with_folders(served):
    plugins_of = served.state / "plugins"
    installed = command(served, "plugins", "install", f"{build(served)}/")
    assert installed.returncode == 0, installed.stderr
    assert served.call("test.words.list") == "apple" and (plugins_of / "words.knap/words/list.txt").exists()
    new = build(served, version="2.0.0", edition="second", text="pear")
    upgraded = command(served, "plugins", "upgrade", str(new.parent))
    assert upgraded.returncode == 0, upgraded.stderr
    assert [served.call(f"test.words.{each}") for each in ("version", "edition", "list")] == ["2.0.0", "second", "pear"]
    assert (plugins_of / "words.knap/libwords.so").read_bytes() == (new / "libwords.so").read_bytes()
    assert command(served, "plugins", "rollback", "words").returncode == 0
    assert [served.call(f"test.words.{each}") for each in ("version", "edition", "list")] == ["1.0.0", "first", "apple"]
    assert command(served, "plugins", "remove", "words").returncode == 0
    assert list(plugins_of.iterdir()) == []


def test_one_signature_vouches_for_all_of_a_folder(served):
    key = served.root / "author"
    assert served.knap("plugins", "keygen", str(key)).returncode == 0
    for arguments in [("plugins", "trust", "add", f"{key}.pub"), ("config", "set", "host.signatures", "signed")]:
        assert command(served, *arguments).returncode == 0
    unsigned = build(served)
    signed = build(served, text="signed")
    result = served.knap("plugins", "sign", str(signed), "--key", str(key))
    assert result.returncode == 0, result.stderr
    verified = command(served, "plugins", "verify", str(signed))
    assert verified.returncode == 0 and "signed by author" in verified.stdout
    refused = command(served, "plugins", "install", str(unsigned))
    assert refused.returncode and "not signed" in refused.stderr
    assert command(served, "plugins", "install", str(signed)).returncode == 0
    assert served.call("test.words.list") == "signed"
    # It says so of the installed copy too; and any other file in it, changed, added or gone, spoils it.
    installed = served.state / "plugins/words.knap"
    assert command(served, "plugins", "verify", str(installed)).returncode == 0
    for change in ("libwords.so", "words/list.txt", "words/added.txt", None):
        copy = served.root / f"changed-{len(str(change))}" / "words.knap"
        shutil.copytree(signed, copy)
        if change:
            with (copy / change).open("ab") as file:
                file.write(b"\n")
        else:
            (copy / "words/list.txt").unlink()
        verdict = command(served, "plugins", "verify", str(copy))
        assert verdict.returncode == 65 and "does not fit" in verdict.stdout, (change, verdict)
        assert command(served, "plugins", "install", str(copy)).returncode
    assert served.call("test.words.list") == "signed"


def escape_by_link(folder, outside):
    (folder / "secret.txt").symlink_to(outside)


def escape_by_relative_link(folder, outside):
    (folder / "words/secret.txt").symlink_to("../../../../token")


def escape_by_folder(folder, outside):
    (folder / "more").symlink_to(outside.parent)


def device(folder, outside):
    os.mknod(folder / "random", 0o600 | 0o020000, os.makedev(1, 9))


def pipe(folder, outside):
    os.mkfifo(folder / "pipe")


def search_path(folder, outside):
    source = folder.parent / "empty.c"
    source.write_text("int nothing;\n")
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-Wl,-rpath,$ORIGIN/words/../..", "-o", str(folder / "libmore.so")],
                   check=True)


def truncated(folder, outside):
    library = folder / "libwords.so"
    library.write_bytes(library.read_bytes()[:4096])


@pytest.mark.parametrize("spoil, complaint", [
    (escape_by_link, "secret.txt leads out of the folder"), (escape_by_relative_link, "words/secret.txt leads out of the folder"),
    (escape_by_folder, "more leads out of the folder"), (device, "random is a device"), (pipe, "pipe is a device, a pipe"),
    (search_path, "leads out of the folder"), (truncated, "cut short"),
])
def test_a_folder_that_reaches_out_or_is_broken_is_refused_with_the_reason(served, spoil, complaint):
    new = build(served)
    outside = served.root / "outside/secret.txt"
    outside.parent.mkdir()
    outside.write_text("secret")
    try:
        spoil(new, outside)
    except PermissionError:
        pytest.skip("making devices needs root")
    target = served.state / "plugins" / new.name
    subprocess.run(["cp", "-a", str(new), str(target)], check=True)
    assert complaint in refusal(served, target)
    assert attempt(served, "test.words.version").returncode
    assert not list((served.state / "store").glob("words/*"))
    # What runs goes on while its folder is spoilt, and a mended one is taken.
    shutil.rmtree(target)
    start(served, build(served, text="mended"))
    assert served.call("test.words.list") == "mended"


def test_a_link_within_a_folder_counts_as_the_file(served):
    new = build(served)
    (new / "libwords.so").rename(new / "libwords.so.1")
    (new / "libwords.so").symlink_to("libwords.so.1")
    target = served.state / "plugins" / new.name
    subprocess.run(["cp", "-a", str(new), str(target)], check=True)
    wait_for(lambda: state_of(served, "words") == "active", "the start")
    assert served.call("test.words.edition") == "first"


def test_two_private_libraries_of_one_name_do_not_meet_in_the_hosts_process(served):
    start(served, build(served))
    assert command(served, "plugins", "isolate", "words", "in-process").returncode == 0
    assert served.call("test.words.edition") == "first"
    # Data and library may change there; another private library of that name would be the first one in disguise.
    drop(served, build(served, version="2.0.0", text="pear"))
    wait_for(lambda: served.call("test.words.list") == "pear", "the new data")
    drop(served, build(served, version="3.0.0", edition="second"))
    wait_for(lambda: "can have only one of a name" in json.dumps(info(served, "words")), "the refusal")
    assert (served.call("test.words.version"), served.call("test.words.edition")) == ("2.0.0", "first")
    assert command(served, "plugins", "isolate", "words", "worker").returncode == 0
    wait_for(lambda: served.call("test.words.edition") == "second", "the new library")


STORING = [f"store-{step}" for step in ("created", "filled", "written", "renamed", "durable")]


@pytest.mark.parametrize("point", [*STORING, "copy-written", "copy-renamed"])
def test_a_host_that_dies_while_it_takes_a_folder_in_comes_up_whole(place, point):
    folder = build(place)
    place.serve()
    place.processes[-1].terminate()
    assert place.processes[-1].wait(60) == 0
    place.environment["KNAP_DIE_AT"] = point
    place.serve()
    command(place, "plugins", "install", str(folder))
    assert place.processes[-1].wait(60) == -9, "the point was not reached"
    del place.environment["KNAP_DIE_AT"]
    place.serve()
    assert not list((place.state / "store").rglob("*.tmp")) and not list((place.state / "plugins").glob(".*"))
    if not (place.state / "plugins/words.knap").exists():
        assert state_of(place, "words") == "unknown"
        assert command(place, "plugins", "install", str(folder)).returncode == 0
    wait_for(lambda: state_of(place, "words") == "active", "the start")
    assert served_by(place) == ["1.0.0", "first", "apple"]


def served_by(place):
    return [place.call(f"test.words.{each}") for each in ("version", "edition", "list")]


def test_a_folder_comes_up_again_from_the_store_after_a_restart(served):
    start(served, build(served))
    digest = info(served, "words")["digest"]
    served.processes[-1].kill()
    served.processes[-1].wait()
    # The copy in the store is made anew when somebody damaged it.
    damaged = served.state / f"store/words/{digest}.knap/words/list.txt"
    damaged.chmod(0o600)
    damaged.write_text("rotten\n")
    served.serve()
    wait_for(lambda: state_of(served, "words") == "active", "the start")
    assert info(served, "words")["digest"] == digest and served.call("test.words.list") == "apple"
