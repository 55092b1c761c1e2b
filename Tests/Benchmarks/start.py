"""Start of `knap mcp` to its first answer, and the memory of the host, with the sample vault.

Medians of 15 starts, warm (the files are in the page cache): once with a host to be started, once with one that runs.
"""

import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

root = pathlib.Path(__file__).resolve().parents[2]
knap = root / ".build/knap/bin/knap"
vault = root / "Tests/Fixtures/Vaults/Sample"
hello = json.dumps({
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "benchmark", "version": "1"}},
}).encode() + b"\n"


def first_answer(state):
    began = time.perf_counter()
    relay = subprocess.Popen([knap, "mcp", "--vault", vault, "--state", state], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    relay.stdin.write(hello)
    relay.stdin.flush()
    assert json.loads(relay.stdout.readline())["result"]
    took = (time.perf_counter() - began) * 1000
    relay.stdin.close()
    relay.wait()
    relay.stdout.close()
    return took


def host(state):
    info = subprocess.run([knap, "call", "host.info", "--state", state, "--json"], capture_output=True, check=True)
    return json.loads(info.stdout)["pid"]


def stop(state):
    pid = host(state)
    memory = next(line.split()[1] for line in open(f"/proc/{pid}/smaps_rollup") if line.startswith("Rss"))
    os.kill(pid, signal.SIGTERM)
    while pathlib.Path(f"/proc/{pid}").exists():
        time.sleep(0.001)
    return int(memory) / 1024


os.environ["KNAP_GATEWAY_PORT"] = "0"
with tempfile.TemporaryDirectory() as folder:
    state = folder + "/state"
    cold, memory = [], []
    for _ in range(15):
        cold.append(first_answer(state))
        memory.append(stop(state))
    first_answer(state)
    warm = [first_answer(state) for _ in range(15)]
    stop(state)
print(f"{'first stdio answer, host to be started':44} {statistics.median(cold):8.1f} ms")
print(f"{'first stdio answer, host running':44} {statistics.median(warm):8.1f} ms")
print(f"{'memory of the whole host (RSS)':44} {statistics.median(memory):8.1f} MB")
