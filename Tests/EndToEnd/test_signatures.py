"""Who signed a plugin, and what follows from it: policies, upgrades, grants, and a store that somebody meddles with."""

import json
import os
import pathlib
import signal
import subprocess

import pytest

import plugins
from callers import Callers
from knap_host import wait_for
from test_live_changes import command
from test_workers import attempt, info, state_of

ASKING = {"permissions": {"network": {"connect": ["example.org:443"]}}}
ASKING_MORE = {"permissions": {"network": {"connect": ["example.org:443", "example.net:443"]}}}


@pytest.fixture
def served(place):
    place.serve()
    return place


@pytest.fixture
def signer(place):
    """Makes keys: `signer("alice")` is the private key's file."""

    def make(name):
        path = place.root / "keys" / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            made = place.knap("plugins", "keygen", str(path))
            assert made.returncode == 0, made.stderr
        return path

    return make


def trust(place, key):
    result = command(place, "plugins", "trust", "add", f"{key}.pub")
    assert result.returncode == 0, result.stderr


def policy(place, value):
    result = command(place, "config", "set", "host.signatures", value)
    assert result.returncode == 0, result.stderr


def build(place, name, version="1.0.0", keys=(), **options):
    """A library in a folder of its own, signed by these keys together."""
    folder = place.root / "built" / f"{name}-{version}-{'-'.join(key.name for key in keys)}"
    library = plugins.build(folder, name, version=version, **options)
    if keys:
        sign(place, library, *keys)
    return library


def sign(place, library, *keys):
    result = place.knap("plugins", "sign", str(library), *[word for key in keys for word in ("--key", str(key))])
    assert result.returncode == 0, result.stderr


def tampered(library):
    """The same with one bit of its code or data changed."""
    content = bytearray(library.read_bytes())
    content[len(content) // 3] ^= 1
    path = library.parent / "tampered" / library.name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def wait_until(place, name, state, version=None):
    def reached():
        shown = info(place, name)
        return shown["state"] == state and (version is None or shown.get("version") == version) and shown

    return wait_for(reached, f"{name} {version or ''} {state}")


def listed(place, name):
    """Its line in the list, or that of its file when that is no plugin."""
    rows = json.loads(command(place, "plugins", "list", "--json").stdout)["plugins"]
    return [row for row in rows if row["name"] in (name, f"{name}.so")]


def problems(place):
    result = command(place, "doctor", "--json")
    found = json.loads(result.stdout)["problems"]
    assert result.returncode == (78 if found else 0)
    return " ".join(f"{each['subject']}: {each['problem']}" for each in found)


def refused(place, name):
    return wait_for(lambda: [row["reason"] for row in listed(place, name) if row["state"] == "broken"], "the refusal")[0]


def omission(place, name):
    """Why the plan leaves it out."""
    plan = json.loads(command(place, "plan", "--json").stdout)
    return next((each["message"] for each in plan["omissions"] if each["plugin"] == name), None)


def restart(place):
    place.processes[-1].terminate()
    place.processes[-1].wait(15)
    place.serve()


def stored(place, name):
    return sorted((place.state / "store" / name).glob("*.so"))


def test_a_plugin_is_signed_and_verified_without_a_host(place, signer):
    alice, bob = signer("alice"), signer("bob")
    assert alice.stat().st_mode & 0o777 == 0o600
    assert alice.read_text().startswith("-----BEGIN PRIVATE KEY-----")
    again = place.knap("plugins", "keygen", str(alice))
    assert again.returncode == 73 and "exists" in again.stderr
    library = build(place, "wheel")
    verify = lambda file, key: place.knap("plugins", "verify", str(file), "--key", f"{key}.pub")
    assert verify(library, alice).returncode == 77 and "not signed" in verify(library, alice).stdout
    sign(place, library, alice)
    assert verify(library, alice).returncode == 0 and "wheel 1.0.0: signed by" in verify(library, alice).stdout
    assert verify(library, bob).returncode == 77 and "not trusted" in verify(library, bob).stdout
    assert verify(tampered(library), alice).returncode == 65
    # The private key is no public one, and the other way round.
    assert place.knap("plugins", "verify", str(library), "--key", str(alice)).returncode == 65
    wrong = place.knap("plugins", "sign", str(library), "--key", f"{alice}.pub")
    assert wrong.returncode == 65 and "private key" in wrong.stderr
    # Without --key it is the host's word that counts.
    assert place.knap("plugins", "verify", str(library), "--state", str(place.state)).returncode == 69
    place.serve()
    assert command(place, "plugins", "verify", str(library)).returncode == 77
    trust(place, alice)
    result = command(place, "plugins", "verify", str(library), "--json")
    assert result.returncode == 0 and json.loads(result.stdout)["signers"][0]["name"] == "alice"


def test_a_signature_covers_a_manifest_beside_the_library(served, signer):
    alice = signer("alice")
    trust(served, alice)
    policy(served, "signed")
    library = build(served, "wheel")
    beside = library.with_suffix(".json")
    subprocess.run(["objcopy", "--dump-section", f".knap={beside}", "--remove-section", ".knap", str(library)], check=True)
    sign(served, library, alice)
    changed = json.loads(beside.read_text()) | {"restart": {"policy": "temporary"}}
    target = served.state / "plugins"
    (target / "wheel.json").write_text(json.dumps(changed))
    plugins.drop(served, library)
    assert "does not fit" in refused(served, "wheel")
    (target / "wheel.json").write_bytes(beside.read_bytes())
    wait_until(served, "wheel", "active")


@pytest.mark.parametrize("value", ["any", "signed", "pinned"])
def test_what_was_tampered_with_is_refused_under_every_policy_and_the_old_version_serves(served, signer, value):
    alice = signer("alice")
    trust(served, alice)
    policy(served, value)
    plugins.drop(served, build(served, "wheel", keys=[alice]))
    wait_until(served, "wheel", "active")
    plugins.drop(served, tampered(build(served, "wheel", "2.0.0", [alice])))
    reason = refused(served, "wheel")
    assert "does not fit" in reason and "get it again" in reason
    assert "does not fit" in problems(served)
    assert served.call("test.wheel.version") == "1.0.0"
    # The file as it should be.
    plugins.drop(served, build(served, "wheel", "2.0.0", [alice]))
    wait_until(served, "wheel", "active", "2.0.0")
    assert listed(served, "wheel") == [listed(served, "wheel")[0]] and problems(served) == ""


def test_any_lets_run_what_nobody_or_a_stranger_signed(served, signer):
    plugins.drop(served, build(served, "plain"))
    plugins.drop(served, build(served, "strange", keys=[signer("stranger")]))
    wait_until(served, "plain", "active")
    shown = wait_until(served, "strange", "active")["signature"]
    assert shown["policy"] == "any" and shown["outcome"] == "allowed" and shown["signers"][0]["trusted"] is False
    assert info(served, "gateway")["signature"] == {"outcome": "part of the installation"}


def test_signed_lets_run_only_what_a_trusted_key_signed(served, signer):
    policy(served, "signed")
    assert "no key is trusted" in problems(served)
    alice = signer("alice")
    plugins.drop(served, build(served, "plain"))
    plugins.drop(served, build(served, "wheel", keys=[alice]))
    assert "it is not signed" in wait_until(served, "plain", "resolved")["reason"]
    shown = wait_until(served, "wheel", "resolved")
    assert "not trusted here" in shown["reason"] and shown["signature"]["outcome"] == "refused"
    for told in [problems(served), command(served, "plan").stdout]:
        assert "plain" in told and "it is not signed" in told and "trust add" in told
    # What ships with Knap is part of the installation.
    assert state_of(served, "gateway") == state_of(served, "obsidian") == "active"
    trust(served, alice)
    assert state_of(served, "wheel") == "active" and state_of(served, "plain") == "resolved"
    assert info(served, "wheel")["signature"]["signers"][0]["name"] == "alice"
    restart(served)
    assert state_of(served, "wheel") == "active" and state_of(served, "plain") == "resolved"
    # Trust that is taken back counts at once.
    assert command(served, "plugins", "trust", "remove", "alice").returncode == 0
    assert "not trusted here" in wait_until(served, "wheel", "resolved")["reason"]
    assert attempt(served, "test.wheel.echo").returncode == 69
    policy(served, "any")
    assert state_of(served, "wheel") == state_of(served, "plain") == "active"


def test_a_policy_applies_at_once_to_what_runs_and_can_come_from_the_environment(served):
    plugins.drop(served, build(served, "plain"))
    wait_until(served, "plain", "active")
    policy(served, "signed")
    assert state_of(served, "plain") == "resolved"
    policy(served, "any")
    assert state_of(served, "plain") == "active"
    served.environment["KNAP_HOST_SIGNATURES"] = "signed"
    restart(served)
    assert "it is not signed" in info(served, "plain")["reason"]


def test_an_unsigned_upgrade_waits_and_the_signed_version_serves(served, signer):
    alice = signer("alice")
    trust(served, alice)
    policy(served, "signed")
    plugins.drop(served, build(served, "wheel", keys=[alice]))
    wait_until(served, "wheel", "active")
    plugins.drop(served, build(served, "wheel", "2.0.0"))
    wait_for(lambda: "it is not signed" in " ".join(info(served, "wheel")["warnings"]), "the refusal")
    assert served.call("test.wheel.version") == "1.0.0" and "it is not signed" in omission(served, "wheel")
    plugins.drop(served, build(served, "wheel", "2.0.0", [alice]))
    wait_until(served, "wheel", "active", "2.0.0")


def test_pinned_keeps_another_trusted_key_from_taking_over_a_name(served, signer):
    alice, bob = signer("alice"), signer("bob")
    trust(served, alice)
    trust(served, bob)
    policy(served, "pinned")
    plugins.drop(served, build(served, "wheel", keys=[alice]))
    wait_until(served, "wheel", "active")
    assert "alice" in command(served, "plugins", "trust", "list").stdout
    plugins.drop(served, build(served, "wheel", "2.0.0", [bob]))
    reason = wait_for(lambda: omission(served, "wheel"), "the refusal")
    assert "signed by bob" in reason and "signed by alice" in reason and "unpin wheel" in reason
    assert served.call("test.wheel.version") == "1.0.0"
    # A name that is new is pinned to whoever comes first.
    plugins.drop(served, build(served, "cart", keys=[bob]))
    wait_until(served, "cart", "active")
    # The pin outlives the host, also while the file there is the other's: what ran before is started.
    restart(served)
    wait_until(served, "wheel", "active", "1.0.0")
    assert "signed by alice" in omission(served, "wheel")
    assert command(served, "plugins", "trust", "unpin", "wheel").returncode == 0
    wait_until(served, "wheel", "active", "2.0.0")
    plugins.drop(served, build(served, "wheel", "3.0.0", [alice]))
    assert "signed by bob" in wait_for(lambda: omission(served, "wheel"), "the refusal")
    assert command(served, "plugins", "trust", "unpin", "nobody").returncode == 66


def test_a_signer_changes_keys_by_signing_one_version_with_both(served, signer):
    old, new, stranger = signer("old"), signer("new"), signer("stranger")
    for key in [old, new, stranger]:
        trust(served, key)
    policy(served, "pinned")
    for version, keys in [("1.0.0", [old]), ("2.0.0", [old, new]), ("3.0.0", [new])]:
        plugins.drop(served, build(served, "wheel", version, keys, **ASKING))
        if version == "1.0.0":
            wait_until(served, "wheel", "resolved")
            assert command(served, "plugins", "grant", "wheel").returncode == 0
        # With what was granted to the first one.
        shown = wait_until(served, "wheel", "active", version)
        assert shown["granted"] == ["connect to example.org:443"]
    # The old key has nothing to say any more.
    plugins.drop(served, build(served, "wheel", "4.0.0", [old], **ASKING))
    assert "signed by old" in wait_for(lambda: omission(served, "wheel"), "the refusal")
    # A stranger cannot put a signature beside that of another.
    library = build(served, "wheel", "5.0.0", [new], **ASKING)
    sign(served, library, stranger)
    plugins.drop(served, library)
    wait_for(lambda: "signed by stranger" in (omission(served, "wheel") or ""), "the refusal")
    assert served.call("test.wheel.version") == "3.0.0"


def test_grants_carry_over_to_the_next_version_of_the_same_signer_and_to_nobody_elses(served, signer):
    alice, bob = signer("alice"), signer("bob")
    trust(served, alice)
    trust(served, bob)
    plugins.drop(served, build(served, "wheel", keys=[alice], **ASKING))
    assert "waiting for connect to example.org:443" in wait_until(served, "wheel", "resolved")["reason"]
    assert command(served, "plugins", "grant", "wheel").returncode == 0
    with Callers(served, "test.wheel.echo", count=2) as load:
        plugins.drop(served, build(served, "wheel", "1.1.0", [alice], **ASKING))
        wait_until(served, "wheel", "active", "1.1.0")
    assert load.failures == []
    for version, keys, options, missing in [
        ("2.0.0", [bob], ASKING, "connect to example.org:443"),
        ("2.1.0", [], ASKING, "connect to example.org:443"),
        ("2.2.0", [signer("stranger")], ASKING, "connect to example.org:443"),
        ("2.3.0", [alice], ASKING_MORE, "connect to example.net:443"),
    ]:
        plugins.drop(served, build(served, "wheel", version, keys, **options))
        wait_for(lambda: version in command(served, "plan").stdout, f"the plan without {version}")
        assert f"waiting for {missing};" in omission(served, "wheel"), version
        assert served.call("test.wheel.version") == "1.1.0"
    restart(served)
    wait_until(served, "wheel", "active", "1.1.0")
    assert command(served, "plugins", "grant", "wheel").returncode == 0
    wait_until(served, "wheel", "active", "2.3.0")
    assert len(info(served, "wheel")["granted"]) == 2
    # What asks for less than its signer has needs nothing.
    plugins.drop(served, build(served, "wheel", "2.4.0", [alice], **ASKING))
    wait_until(served, "wheel", "active", "2.4.0")


def test_a_signature_that_comes_or_goes_changes_nothing_of_what_runs(served, signer):
    alice = signer("alice")
    trust(served, alice)
    library = build(served, "wheel")
    plugins.drop(served, library)
    before = wait_until(served, "wheel", "active")
    unsigned = library.read_bytes()
    sign(served, library, alice)
    plugins.drop(served, library)
    wait_for(lambda: info(served, "wheel")["signature"]["signers"], "the signature")
    policy(served, "signed")
    (served.state / "plugins/wheel.so").write_bytes(unsigned)
    wait_for(lambda: "it is not signed" in (omission(served, "wheel") or ""), "the refusal")
    after = info(served, "wheel")
    assert (after["generation"], after["process"], after["digest"]) == (before["generation"], before["process"], before["digest"])
    assert served.call("test.wheel.echo", text="on") == {"text": "on"}
    assert stored(served, "wheel")[0].read_bytes() == unsigned


@pytest.mark.parametrize("isolation", ["worker", "in-process"])
@pytest.mark.parametrize("way", ["written over", "replaced", "removed"])
def test_what_is_changed_in_the_store_between_check_and_load_is_never_loaded(served, signer, isolation, way):
    alice = signer("alice")
    trust(served, alice)
    policy(served, "signed")
    evil = build(served, "wheel", defines=["OTHER=\"evil\""]).read_bytes()
    library = build(served, "wheel", keys=[alice], **ASKING)
    target = plugins.drop(served, library)
    # Taken and checked; it waits for what it asks for.
    wait_until(served, "wheel", "resolved")
    if isolation == "in-process":
        assert command(served, "plugins", "isolate", "wheel", isolation).returncode == 0
    [copy] = stored(served, "wheel")
    good = copy.read_bytes()

    def meddle():
        copy.chmod(0o600)
        if way == "written over":
            copy.write_bytes(evil)
        elif way == "replaced":
            other = copy.with_suffix(".evil")
            other.write_bytes(evil)
            other.rename(copy)
        else:
            copy.unlink()

    meddle()
    assert command(served, "plugins", "grant", "wheel").returncode == 0
    # It was made anew from the file, and that is what runs.
    wait_until(served, "wheel", "active")
    assert copy.read_bytes() == good and served.call("test.wheel.version") == "1.0.0"
    if isolation == "in-process":
        return
    # Where that cannot be had, nothing runs.
    content = target.read_bytes()
    target.write_bytes(tampered(library).read_bytes())
    refused(served, "wheel")
    meddle()
    os.kill(int(info(served, "wheel")["process"]), signal.SIGKILL)
    reason = wait_until(served, "wheel", "failed")["reason"]
    assert "no longer that of its name" in reason or "cannot be opened" in reason, reason
    target.write_bytes(content)
    wait_for(lambda: not [row for row in listed(served, "wheel") if row["state"] == "broken"], "the good file")
    assert command(served, "plugins", "reload", "wheel").returncode == 0
    assert served.call("test.wheel.version") == "1.0.0"


def test_no_worker_can_touch_the_store_or_what_the_operator_decided(served, signer):
    trust(served, signer("alice"))
    plugins.drop(served, build(served, "wheel", keys=[signer("alice")], **ASKING))
    wait_until(served, "wheel", "resolved")
    assert command(served, "plugins", "grant", "wheel").returncode == 0
    [copy] = stored(served, "wheel")
    copy.chmod(0o600)
    kept = [copy, copy.with_suffix(".sig"), *(served.state / name for name in ["trust.json", "grants.json", "store/digests.json"])]
    for path in kept + [copy.parent / "new.so", served.state / "plugins/wheel.so", served.state / "config.json"]:
        assert served.call("test.wheel.write_file", path=str(path)).startswith("refused"), path
        assert served.call("test.wheel.remove_file", path=str(path)).startswith("refused"), path
    for path in kept[:4]:
        assert path.stat().st_size > 0


def test_installing_upgrading_and_rolling_back_obey_the_policy(served, signer):
    alice = signer("alice")
    trust(served, alice)
    plugins.drop(served, build(served, "wheel"))
    wait_until(served, "wheel", "active")
    plugins.drop(served, build(served, "wheel", "2.0.0", [alice]))
    wait_until(served, "wheel", "active", "2.0.0")
    policy(served, "signed")
    before = (served.state / "plugins/wheel.so").read_bytes()
    for library, told in [(build(served, "wheel", "3.0.0"), "it is not signed"),
                          (tampered(build(served, "wheel", "3.0.0", [alice])), "does not fit")]:
        result = command(served, "plugins", "install", str(library))
        assert result.returncode == 65 and told in result.stderr, result.stderr
        result = command(served, "plugins", "upgrade", str(library.parent))
        assert result.returncode == 65 and told in result.stderr and "nothing was" in result.stderr
    result = command(served, "plugins", "rollback", "wheel")
    assert result.returncode == 65 and "it is not signed" in result.stderr
    assert (served.state / "plugins/wheel.so").read_bytes() == before
    assert served.call("test.wheel.version") == "2.0.0"
    history = json.loads(command(served, "history", "--json").stdout)["history"]
    assert [each["plugin"] for each in history if each["change"] == "trust add"] == ["alice"]
    for arguments in [("install", str(build(served, "wheel", "3.0.0", [alice]))),
                      ("upgrade", str(build(served, "wheel", "4.0.0", [alice]).parent))]:
        result = command(served, "plugins", *arguments)
        assert result.returncode == 0, result.stderr
    assert served.call("test.wheel.version") == "4.0.0"


def test_keys_have_one_name_each_and_what_is_no_key_is_refused(served, signer):
    alice, bob = signer("alice"), signer("bob")
    trust(served, alice)
    again = command(served, "plugins", "trust", "add", f"{alice}.pub", "--name", "other")
    assert again.returncode == 73 and "as 'alice'" in again.stderr
    other = command(served, "plugins", "trust", "add", f"{bob}.pub", "--name", "alice")
    assert other.returncode == 73 and "another key" in other.stderr
    private = command(served, "plugins", "trust", "add", str(bob), "--name", "bob")
    assert private.returncode == 65 and "public key" in private.stderr
    assert command(served, "plugins", "trust", "remove", "alicia").returncode == 66
    assert command(served, "plugins", "trust", "add", "/nowhere.pub").returncode == 66


def test_a_damaged_list_of_trusted_keys_stops_the_start_with_what_to_do(place, signer):
    place.state.mkdir()
    (place.state / "trust.json").write_text("{}")
    result = place.knap("serve", "--vault", str(place.vault), "--state", str(place.state), "--port", "0")
    assert result.returncode != 0 and "trust.json" in result.stderr and "remove it" in result.stderr
