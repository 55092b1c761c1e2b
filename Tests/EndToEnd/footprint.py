"""What a process holds: to see whether it holds more and more."""

import pathlib
import re


class Footprint:
    def __init__(self, process):
        folder = pathlib.Path(f"/proc/{process}")
        self.descriptors = len(list((folder / "fd").iterdir()))
        self.threads = len(list((folder / "task").iterdir()))
        self.kilobytes = int(re.search(r"Rss:\s+(\d+)", (folder / "smaps_rollup").read_text()).group(1))

    def __repr__(self):
        return f"{self.descriptors} descriptors, {self.threads} threads, {self.kilobytes} KB"
