"""Completion in real shells: what `knap` knows itself, and what the running host knows."""

import os
import pathlib
import shutil
import signal
import subprocess

import pytest

import plugins
from knap_host import KNAP, Place, wait_for
from test_workers import state_of


@pytest.fixture(scope="module")
def place():
    made = Place()
    # As an operator has it, so that `knap` finds the host without being told where.
    made.state = made.root / "xdg/knap/notes"
    made.state.parent.mkdir(parents=True)
    made.serve()
    plugins.drop(made, plugins.build(made.root / "built", "steady"))
    wait_for(lambda: state_of(made, "steady") == "active", "the start of steady")
    made.environment["PATH"] = f"{pathlib.Path(KNAP).parent}:{os.environ['PATH']}"
    for shell in ("bash", "zsh", "fish"):
        (made.root / f"completion.{shell}").write_text(made.knap("completions", shell).stdout)
    yield made
    made.close()


def bash(place, line):
    """What bash offers at the end of a line, by calling the function that it would call."""
    words = line.split(" ")
    script = f"""
        source {place.root}/completion.bash
        COMP_WORDS=({' '.join(repr(word) for word in words)}) COMP_CWORD={len(words) - 1} COMP_LINE={line!r} COMP_POINT={len(line)}
        $(complete -p knap | sed 's/.*-F \\([^ ]*\\).*/\\1/') knap {words[-1]!r} {words[-2]!r}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    return run(place, ["bash", "--norc", "-c", script])


def fish(place, line):
    script = f"source {place.root}/completion.fish; complete -C {line!r}"
    return {each.split("\t")[0] for each in run(place, ["fish", "--no-config", "-c", script])}


# zsh completes only in its editor: it gets the line and two TABs on a terminal, and shows what there is.
ZSH = r"""
import os, pty, re, select, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.execvp("zsh", ["zsh", "-f", "-i"])
output = b""
def read_until(text):
    global output
    end = time.monotonic() + 60
    while text not in output:
        assert time.monotonic() < end, output
        if select.select([terminal], [], [], 0.1)[0]:
            output += os.read(terminal, 65536)
def send(text):
    os.write(terminal, text.encode())
# The prompt comes when the editor reads: what is sent before could be taken for something else.
send("stty columns 200; autoload -U compinit; compinit -u -D; source " + sys.argv[1] + "; LISTMAX=10000; setopt nolistbeep; "
     "bindkey '^T' list-choices; PS1='@''@ '\n")
read_until(b"@@ ")
output = b""
send(sys.argv[2] + "\x14")
send("\x15print EN''D\n")
read_until(b"END")
sys.stdout.buffer.write(re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]|[\x00-\x09\x0b-\x1f]", b" ", output))
"""


def zsh(place, line):
    output = run(place, [shutil.which("python3"), "-c", ZSH, str(place.root / "completion.zsh"), line])
    return {word for each in output for word in each.split()}


def run(place, command):
    done = subprocess.run(command, capture_output=True, text=True, env={**place.environment, "TERM": "xterm"}, timeout=120)
    assert done.returncode == 0 and done.stderr == "", (command, done)
    return set(done.stdout.splitlines()) - {""}


SHELLS = [bash, zsh, fish]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("line, offered", [
    ("knap pl", {"plan", "plugins"}),
    ("knap plugins re", {"reload", "release", "remove"}),
    ("knap plugins reload ", {"gateway", "obsidian", "steady"}),
    ("knap plugins info st", {"steady"}),
    ("knap call test.steady.ec", {"test.steady.echo"}),
    ("knap call host.trust_", {"host.trust_add", "host.trust_list", "host.trust_remove", "host.trust_unpin"}),
    ("knap va", {"vault"}),
    ("knap vault re", {"read", "recent"}),
    ("knap vault search --", {"--limit", "--offset", "--state", "--json"}),
])
def test_a_shell_offers_commands_plugins_methods_and_what_plugins_add(place, shell, line, offered):
    if line == "knap vault re":
        offered = {name for name in contributed(place) if name.startswith("re")}
        assert offered
    shown = shell(place, line)
    assert offered <= shown, shown
    word = line.split(" ")[-1]
    if word and shell is bash:
        assert all(each.startswith(word) for each in shown), shown


def contributed(place):
    commands = place.call("host.contributions", point="cli")["contributions"]
    return {each["item"]["name"] for each in commands if each["item"].get("group") == "vault"}


@pytest.mark.parametrize("shell", SHELLS)
def test_without_a_host_a_shell_offers_what_knap_knows_itself_and_says_nothing(place, shell):
    alone = dict(place.environment)
    try:
        place.environment["XDG_STATE_HOME"] = str(place.root / "nothing")
        assert {"plan", "plugins"} <= shell(place, "knap pl")
        assert not {"gateway", "steady"} & shell(place, "knap plugins reload ")
        assert "vault" not in shell(place, "knap va")
    finally:
        place.environment = alone


def test_a_host_that_does_not_answer_does_not_hold_the_shell(place):
    pid = place.host_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        assert "steady" not in bash(place, "knap plugins reload ")
        assert "plan" in bash(place, "knap pl")
    finally:
        os.kill(pid, signal.SIGCONT)
