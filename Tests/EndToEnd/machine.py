"""A machine of its own: Linux run as a program (user-mode Linux), with this one's files and its own kernel."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

PREPARE = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
ip link set lo up 2>/dev/null || ifconfig lo up
cd "$DIRECTORY"
"""
END = """
echo "machine: ended with $?"
exec "$PYTHON" -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321fedc)'
"""


def run_tests(file, folder, timeout=300):
    """Has pytest run a file of `in_machine` there; fails with what it printed unless all passed."""
    linux = shutil.which("linux.uml")
    if not linux:
        reason = "there is no linux.uml here (Debian's user-mode-linux): Tests/run --all installs it"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    here = pathlib.Path(__file__).parent
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "KNAP", "KNAP_DATA", "HOME") if name in os.environ}
    start = folder / "init"
    start.write_text(PREPARE.replace("$DIRECTORY", str(here)) + "".join(
        f"export {name}='{value}'\n" for name, value in {**kept, "TMPDIR": "/run", "PYTHONDONTWRITEBYTECODE": "1"}.items())
        + f"'{sys.executable}' -m pytest -q --color=no -p no:cacheprovider 'in_machine/{file}' 2>&1"
        + END.replace("$PYTHON", sys.executable))
    start.chmod(0o700)
    machine = subprocess.run(
        [linux, "mem=1G", "rootfstype=hostfs", "rootflags=/", "rw", f"init={start}", "con=null", "con0=null,fd:1", "quiet"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, env={**os.environ, "TMPDIR": str(folder)})
    printed = machine.stdout.decode(errors="replace")
    assert "machine: ended with 0" in printed, printed
    print(printed)
