"""A disk of some megabytes that a test can fill or make read-only, seen by the host and nobody else."""

import errno
import os
import pathlib
import subprocess

import pytest

from knap_host import Place


class SmallDisk:
    """A file system in memory, mounted in a namespace of its own."""

    def __init__(self, place, megabytes=32):
        self.mount = place.root / "disk"
        self.mount.mkdir()
        user = [] if os.geteuid() == 0 else ["--map-root-user"]
        self.holder = subprocess.Popen(
            ["unshare", *user, "--mount", "sh", "-c", 'mount -t tmpfs -o size="$1"m tmpfs "$2" && echo ready && exec sleep infinity',
             "sh", str(megabytes), str(self.mount)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        place.processes.insert(0, self.holder)
        if self.holder.stdout.readline() != "ready\n":
            reason = f"this kernel lets nobody mount here: {self.holder.stderr.read()}"
            pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
        namespaces = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--preserve-credentials"]
        self.enter = ["nsenter", "--target", str(self.holder.pid), *namespaces]
        place.prefix = self.enter
        # The same folder, as it is seen from here.
        self.path = pathlib.Path(f"/proc/{self.holder.pid}/root{self.mount}")

    def fill(self):
        """Leaves not a byte."""
        with open(self.path / "filler", "ab", buffering=0) as filler:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        filler.write(bytes(size))
                except OSError as error:
                    assert error.errno == errno.ENOSPC

    def make_room(self):
        (self.path / "filler").unlink()

    def make_writable(self, is_writable):
        subprocess.run(
            [*self.enter, "mount", "-o", f"remount,{'rw' if is_writable else 'ro'}", str(self.mount)], check=True)


@pytest.fixture
def disk(place):
    return SmallDisk(place)
