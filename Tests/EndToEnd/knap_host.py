"""Runs `knap` as its users do: as a process with a state directory of its own."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

KNAP = os.environ.get("KNAP", str(pathlib.Path(__file__).parents[2] / ".build/knap/bin/knap"))
SAMPLE = pathlib.Path(__file__).parents[1] / "Fixtures/Vaults/Sample"
DATA = pathlib.Path(os.environ.get("KNAP_DATA", pathlib.Path(__file__).parents[2].parent / "shared/data"))
REAL_VAULTS = DATA.parent / "vaults/obsidian-tasks"


def wait_for(condition, what, seconds=60):
    """Waits until `condition` gives something true, and returns it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what} did not happen within {seconds} s")


class Place:
    """A copy of a vault and a state directory, both gone in the end, with every host that used them."""

    def __init__(self, vault=SAMPLE):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="knap-e2e-"))
        self.root.chmod(0o711)  # workers with users of their own pass here
        self.vault = self.root / "vault"
        shutil.copytree(vault, self.vault)
        for path in [self.vault, *self.vault.rglob("*")]:
            path.chmod(path.stat().st_mode | 0o200)
        self.state = self.root / "state"
        self.token = "test-token"
        self.environment = {**os.environ, "XDG_STATE_HOME": str(self.root / "xdg"), "KNAP_TOKEN": self.token}
        self.processes = []
        # What every program of this place is started by.
        self.prefix = []

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        # A host that a relay started outlives it by a while.
        if (pid := self.host_pid()) is not None:
            try:
                os.kill(pid, signal.SIGTERM)
                wait_for(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "the host's end")
            except ProcessLookupError:
                pass
        shutil.rmtree(self.root, ignore_errors=True)

    def host_pid(self):
        result = self.knap("call", "host.info", "--state", str(self.state), "--json")
        return json.loads(result.stdout)["pid"] if result.returncode == 0 else None

    def knap(self, *arguments, stdin="", timeout=30):
        return subprocess.run(
            [*self.prefix, KNAP, *arguments], input=stdin, capture_output=True, text=True, env=self.environment, timeout=timeout
        )

    def call(self, method, **arguments):
        result = self.knap("call", method, json.dumps(arguments), "--state", str(self.state), "--json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def serve(self, *arguments):
        """Starts a host that listens on any free port; returns its MCP endpoint."""
        process = subprocess.Popen(
            [*self.prefix, KNAP, "serve", "--vault", str(self.vault), "--state", str(self.state), "--port", "0", *arguments],
            stdout=subprocess.PIPE, stderr=open(os.environ.get("KNAP_TEST_LOG", os.devnull), "a"), text=True, env=self.environment,
        )
        self.processes.append(process)
        for line in process.stdout:
            if found := re.search(r"MCP \(HTTP\)\s+(\S+)", line):
                return found.group(1)
            if "not served" in line:
                break
        raise AssertionError("knap serve did not name an MCP endpoint")

    def relay_arguments(self):
        return ["mcp", "--vault", str(self.vault), "--state", str(self.state)]

    def wait_until_indexed(self):
        wait_for(lambda: all(v["ready"] for v in self.call("vault.status")["vaults"]), "the index's completion", 60)
