"""The command line where no host runs: help, exit codes, and what Host/run does without a build."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KNAP = os.environ.get("KNAP", str(ROOT / ".build/knap/bin/knap"))


@pytest.fixture
def knap(tmp_path):
    """Runs `knap` with a home of its own, so that no host of the user's is found."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def run(*arguments, stdin="", **variables):
        return subprocess.run(
            [KNAP, *arguments], input=stdin, capture_output=True, text=True, timeout=30, env=environment | variables
        )

    return run


@pytest.mark.parametrize("arguments", [["--help"], ["help"], []])
def test_help_teaches_by_examples_and_lists_exit_codes(knap, arguments):
    done = knap(*arguments)
    assert done.returncode == 0
    assert "knap serve --vault" in done.stdout
    assert "EXIT CODES" in done.stdout
    for command in ["serve", "mcp", "call", "plan", "plugins", "doctor", "config", "version", "completions"]:
        assert f"  {command} " in done.stdout


@pytest.mark.parametrize("command", ["serve", "mcp", "call", "plan", "plugins", "doctor", "config", "version"])
def test_every_command_has_help(knap, command):
    done = knap(command, "--help")
    assert done.returncode == 0, done.stderr
    assert f"USAGE: knap {command}" in done.stdout


def test_version_is_also_json(knap):
    version = json.loads(knap("version", "--json").stdout)["knap"]
    assert knap("version").stdout == f"knap {version}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_commands(knap, shell):
    done = knap("completions", shell)
    assert done.returncode == 0
    assert "plugins" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["serve"],
        ["mcp"],
        ["call"],
        ["call", "nodot"],
        ["call", "a.b", "{not json"],
        ["config", "set", "nodot", "1"],
        ["completions", "tcsh"],
    ],
)
def test_a_wrong_command_line_is_64(knap, arguments):
    done = knap(*arguments)
    assert done.returncode == 64
    assert done.stdout == ""
    assert done.stderr != ""


@pytest.mark.parametrize(
    "arguments", [["plan"], ["plugins"], ["plugins", "info", "x"], ["doctor"], ["call", "a.b"], ["config", "list"]]
)
def test_without_a_host_commands_are_69_and_say_how_to_start_one(knap, arguments):
    done = knap(*arguments)
    assert done.returncode == 69
    assert "knap serve" in done.stderr


def test_errors_are_json_when_asked(knap):
    error = json.loads(knap("plan", "--json").stderr)["error"]
    assert error["code"] == "NOT_RUNNING"
    assert error["message"]


def test_a_state_directory_that_is_not_there_is_named(knap):
    done = knap("plan", "--state", "/no/such/place")
    assert done.returncode == 69
    assert "/no/such/place" in done.stderr


@pytest.mark.parametrize("command", ["serve", "mcp"])
def test_a_vault_that_is_not_there_is_66_and_named(knap, command):
    done = knap(command, "--vault", "/no/such/vault")
    assert done.returncode == 66
    assert "/no/such/vault" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["serve", "mcp"])
def test_a_state_directory_that_cannot_be_made_is_an_error(knap, tmp_path, command):
    (tmp_path / "file").write_text("")
    done = knap(command, "--vault", str(tmp_path), "--state", str(tmp_path / "file/state"))
    assert done.returncode == 73
    assert str(tmp_path / "file") in done.stderr


@pytest.fixture
def unbuilt(tmp_path):
    """A tree as a fresh clone has it."""
    (tmp_path / "Host").mkdir()
    shutil.copy(ROOT / "Host/run", tmp_path / "Host/run")
    return tmp_path


def test_mcp_unbuilt_is_78_and_builds_nothing(unbuilt):
    done = subprocess.run(
        [unbuilt / "Host/run", "mcp", "--vault", "/tmp"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10
    )
    assert done.returncode == 78
    assert done.stdout == ""
    assert "not built" in done.stderr and "build" in done.stderr
    assert not (unbuilt / ".build").exists()


def test_a_fresh_build_gets_its_arguments_unchanged(unbuilt):
    """Host/run neither builds nor touches arguments when nothing has changed since the build."""
    program = unbuilt / ".build/knap/bin/knap"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\nprintf '<%s>' \"$@\"\n")
    program.chmod(0o755)
    (unbuilt / ".build/knap/built").touch()
    done = subprocess.run([unbuilt / "Host/run", "call", "a b", "", "*"], capture_output=True, text=True, timeout=10)
    assert done.stdout == "<call><a b><><*>"
    assert done.stderr == ""
