"""How well search by meaning finds the note that answers a question, against BM25 alone; and how fast it is.

recall.py VAULT asks the questions of questions.json, whose answers are notes of the documentation of Obsidian Tasks
(obsidian-tasks/docs). A question counts as answered at N when one of its notes is among the first N; MRR is the mean of
1/rank. The questions were written before anything was measured, mostly in other words than the notes'; the size of a chunk,
its headings and the endings of words were then chosen with them, among choices that differ by a few hundredths. The latency is that of
10,000 generated notes over the control socket, with the questions as they are.
"""

import http.client
import json
import os
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse

root = pathlib.Path(__file__).resolve().parents[2]
knap = root / ".build/knap/bin/knap"
questions = json.loads((root / "Tests/Benchmarks/questions.json").read_text())


class Host:
    def __init__(self, vault, state, **environment):
        self.process = subprocess.Popen(
            [knap, "serve", "--vault", vault, "--state", state, "--port", "0"], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, env={**os.environ, "KNAP_TOKEN": "benchmark", **environment})
        endpoint = next(line.split()[-1] for line in self.process.stdout if "MCP (HTTP)" in line)
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(endpoint).netloc)
        self.state = state

    def search(self, query, mode, limit=10):
        self.connection.request(
            "POST", "/tools/search_notes", json.dumps({"query": query, "mode": mode, "limit": limit}),
            {"Authorization": "Bearer benchmark", "Content-Type": "application/json"})
        answer = self.connection.getresponse()
        body = json.loads(answer.read())
        assert answer.status == 200, body
        return body

    def status(self):
        result = subprocess.run(
            [knap, "call", "vault.status", "{}", "--state", self.state, "--json"], capture_output=True, text=True, check=True)
        return json.loads(result.stdout)["vaults"][0]

    def until(self, is_done):
        while not is_done(self.status()):
            time.sleep(0.02)
        return time.perf_counter()

    def memory(self):
        return int(next(line.split()[1] for line in open(f"/proc/{self.process.pid}/status") if line.startswith("VmRSS"))) / 1024

    def work(self):
        """The processor's time that the host has taken, in ms: what a question costs also on a machine that is busy."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e6

    def stop(self):
        self.connection.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def score(name, host, mode):
    ranks = []
    for each in questions:
        found = [note["path"] for note in host.search(each["question"], mode, 100)["notes"]]
        ranks.append(min((found.index(note) + 1 for note in each["notes"] if note in found), default=float("inf")))
    at = [sum(rank <= most for rank in ranks) / len(ranks) for most in (1, 5, 10)]
    print(f"{name:42}" + "".join(f"{share:8.3f}" for share in at) + f"{sum(1 / rank for rank in ranks) / len(ranks):8.3f}")


def measure_recall(vault, folder):
    print(f"{f'{len(questions)} questions':42}{'@1':>8}{'@5':>8}{'@10':>8}{'MRR':>8}")
    host = Host(vault, folder + "/words", KNAP_OBSIDIAN_MEANING="/nowhere")
    host.until(lambda status: status["ready"])
    score("every word (mode words)", host, "words")
    score("BM25 alone, any of the words", host, "both")
    host.stop()
    host = Host(vault, folder + "/meaning")
    host.until(lambda status: status["meaning"] == "ready")
    score("meaning alone (mode meaning)", host, "meaning")
    score("both", host, "both")
    host.stop()


def generate(vault, folder, count=10_000):
    """Notes of about 2 KB under five headings, of the words of a vault as frequent as there."""
    chance = random.Random(5)
    words = " ".join(note.read_text() for note in sorted(pathlib.Path(vault).rglob("*.md"))).split()
    for number in range(count):
        path = pathlib.Path(folder) / f"{number % 100:02}"
        path.mkdir(parents=True, exist_ok=True)
        parts = [f"## {' '.join(chance.choices(words, k=3))}\n{' '.join(chance.choices(words, k=60))}\n" for _ in range(5)]
        (path / f"{' '.join(chance.choices([word for word in words[:5000] if word.isalpha()], k=2))} {number}.md").write_text("\n".join(parts))


def measure_speed(vault, folder):
    generate(vault, folder + "/notes")
    host = Host(folder + "/notes", folder + "/speed")
    words = host.until(lambda status: status["ready"])
    before = host.memory()
    done = host.until(lambda status: status["meaning"] == "ready")
    made = host.memory()
    print(f"\n{'10,000 notes: vectors, after the words':42}{done - words:8.1f} s")
    began = time.perf_counter()
    host.search("the first question", "meaning")
    print(f"{'first question':42}{(time.perf_counter() - began) * 1000:8.1f} ms")
    for mode in ["meaning", "both"]:
        times, works = [], []
        for number in range(1000):
            question = questions[number % len(questions)]["question"]
            before_it, began = host.work(), time.perf_counter()
            host.search(f"{question} {number}", mode)
            times.append((time.perf_counter() - began) * 1000)
            works.append(host.work() - before_it)
        for name, figures in [("", times), (", processor", works)]:
            p50, p99 = statistics.median(figures), statistics.quantiles(figures, n=100)[98]
            print(f"{f'mode {mode}{name}: p50, p99 of 1,000':42}{p50:8.1f} ms{p99:8.1f} ms")
    print(f"{'memory with words, with vectors made, asked':42}{before:8.1f} MB{made:8.1f} MB{host.memory():8.1f} MB")
    host.stop()


with tempfile.TemporaryDirectory() as folder:
    vault = sys.argv[1] if len(sys.argv) > 1 else str(root / "../shared/vaults/obsidian-tasks/docs")
    measure_recall(vault, folder)
    measure_speed(vault, folder)
