"""The vault of 10,000 notes and of 150,000, through a running host, each figure beside its bound; and the peers in the same run.

    vault.py [NOTES]...

Wall times of a shared machine lie: the same texts put into a plain FTS5 table by Python beside it are the yardstick, and
the processor's seconds of the host are shown with the long ones. Run by Tests/Benchmarks/run.
"""

import collections
import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "EndToEnd"))
from corpus import SEED, Corpus
from knap_host import Place, wait_for

ROOT = pathlib.Path(__file__).parents[2]
QUERIES = 1000
# notes: seconds of the cold index, of the trigrams behind it, of a warm start; megabytes
BOUNDS = {10_000: (3, 6, 0.3, None), 150_000: (60, 120, None, 500)}


def row(what, figure, unit, bound=None, remark=""):
    verdict = "" if bound is None else f"under {bound:g}" + ("" if figure < bound else "  MISSED")
    print(f"{what:64} {figure:10,.2f} {unit:3} {verdict:18} {remark}".rstrip(), flush=True)


def percentile(times, share):
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] * 1000


def spread(what, times, bounds=(None, None), remark=""):
    for share, bound in zip((0.5, 0.99), bounds):
        row(f"{what}, p{share * 100:.0f}", percentile(times, share), "ms", bound, remark)


class Tools:
    """Tools over REST on one connection that stays open."""

    def __init__(self, place, endpoint):
        url = urllib.parse.urlsplit(endpoint)
        self.connection = http.client.HTTPConnection(url.hostname, url.port, timeout=600)
        self.headers = {"Authorization": f"Bearer {place.token}", "Content-Type": "application/json"}

    def ask(self, name, **arguments):
        self.connection.request("POST", f"/tools/{name}", json.dumps(arguments), self.headers)
        answer = self.connection.getresponse()
        answer.body = answer.read()
        return answer

    def __call__(self, name, **arguments):
        answer = self.ask(name, **arguments)
        assert answer.status == 200, (name, arguments, answer.body[:500])
        return json.loads(answer.body)


class Serving:
    """A host from its start to its end, and what it uses meanwhile."""

    def __init__(self, place):
        self.began = time.perf_counter()
        endpoint = place.serve()
        self.process = place.processes[-1]
        self.tools = Tools(place, endpoint)

    def elapsed(self):
        return time.perf_counter() - self.began

    def until(self, what, is_done):
        """Seconds from the start until the answers of a search say that a part of the index is complete."""
        wait_for(lambda: is_done(self.tools("search_notes", query="\"qq xx\"", limit=1).get("indexing", {})), what, 1800)
        return self.elapsed()

    def until_words(self):
        return self.until("the index", lambda indexing: "done" not in indexing)

    def until_complete(self):
        return self.until("the index of substrings", lambda indexing: not indexing)

    def processor(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def megabytes(self, what="VmRSS"):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{what}:\s+(\d+)", status).group(1)) / 1024

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


# What is asked

WORD = re.compile(r"\w+")


class Questions:
    """Words of a corpus by the share of the notes that have them, and seeded queries of them."""

    def __init__(self, notes):
        self.frequency = collections.Counter()
        self.occurrences = collections.Counter()
        for note in notes:
            words = WORD.findall(note.read_text().lower())
            self.occurrences.update(words)
            self.frequency.update(set(words))
        self.chance = random.Random(SEED)
        rare = [word for word, count in self.frequency.items() if count <= len(notes) / 10 and word.isascii()]
        self.rare = sorted(rare)
        self.common = [word for word, count in self.frequency.most_common(400) if count > len(notes) / 10 and word.isalpha()]

    def usual(self, count):
        """One to three words, each as often as it occurs in the notes."""
        weights = [self.occurrences[word] for word in self.rare]
        return [" ".join(self.chance.choices(self.rare, weights, k=self.chance.randint(1, 3))) for _ in range(count)]

    def stop_words(self, count):
        return [" ".join(self.chance.sample(self.common, self.chance.randint(1, 3))) for _ in range(count)]

    def phrases(self, notes, count):
        """Two to four words as they stand in some note."""
        found = []
        while len(found) < count:
            words = re.findall(r"[^\W_]+(?: [^\W_]+)+", self.chance.choice(notes).read_text())
            if words:
                words = self.chance.choice(words).split()
                length = self.chance.randint(2, 4)
                start = self.chance.randrange(max(1, len(words) - length))
                found.append('"' + " ".join(words[start:start + length]) + '"')
        return found

    def substrings(self, count):
        """Three to five letters out of a word, not from its beginning."""
        long = [word for word in self.rare if len(word) >= 6]
        found = []
        for word in self.chance.choices(long, [self.occurrences[word] for word in long], k=count):
            start = self.chance.randint(1, len(word) - 5)
            found.append(word[start:start + self.chance.randint(3, 5)])
        return found

    def letters(self, count):
        return ["".join(self.chance.choices("abdeiklnorst", k=self.chance.randint(1, 2))) for _ in range(count)]

    def chinese(self, notes, count):
        """One to four characters out of a Chinese sentence."""
        found = []
        while len(found) < count:
            sentences = re.findall(r"[\u4e00-\u9fff]{6,}", self.chance.choice(notes).read_text())
            if sentences:
                sentence, length = self.chance.choice(sentences), self.chance.randint(1, 4)
                start = self.chance.randint(0, len(sentence) - length)
                found.append(sentence[start:start + length])
        return found


def measure_searches(tools, notes, bounded):
    questions = Questions(notes)
    usual = questions.usual(QUERIES)
    kinds = [
        (f"{QUERIES} queries of 1 to 3 words, each in up to 10 % of the notes", usual, (5, 20)),
        ("200 queries of words in more of them", questions.stop_words(200), (None, 50)),
        ("200 phrases of 2 to 4 words", questions.phrases(notes, 200), (None, None)),
        ("200 parts of words, 3 to 5 letters", questions.substrings(200), (None, None)),
        ("100 times 1 or 2 letters", questions.letters(100), (None, None)),
        ("200 times 1 to 4 Chinese characters", questions.chinese(notes, 200), (None, None)),
    ]
    for what, queries, bounds in kinds:
        times, found = [], 0
        for query in queries:
            began = time.perf_counter()
            answer = tools("search_notes", query=query)
            times.append(time.perf_counter() - began)
            found += answer["total"]
        slowest = queries[times.index(max(times))]
        spread(what, times, bounds if bounded else (None, None), f"{found / len(queries):,.0f} found each, slowest: {slowest}")
    return usual


# The index

def processor_of_this():
    return (usage := resource.getrusage(resource.RUSAGE_SELF)).ru_utime + usage.ru_stime


def measure_yardstick(notes, folder):
    for what, options in (("words", "tokenize='unicode61 remove_diacritics 2'"),
                          ("trigrams", "tokenize='trigram', detail=none, content='', columnsize=0")):
        with contextlib.closing(sqlite3.connect(folder / f"{what}.sqlite", isolation_level=None)) as database:
            database.execute(f"CREATE VIRTUAL TABLE t USING fts5(text, {options})")
            began, used = time.perf_counter(), processor_of_this()
            database.execute("BEGIN")
            for number, note in enumerate(notes, 1):
                database.execute("INSERT INTO t(rowid, text) VALUES (?, ?)", (number, note.read_text()))
            database.execute("COMMIT")
            row(f"yardstick: the texts into a plain FTS5 table of {what}", time.perf_counter() - began, "s", None,
                f"{processor_of_this() - used:.1f} s of processor")


def measure_index(place, bounds):
    cold, grams, warm, most = bounds
    serving = Serving(place)
    row("cold start to links, tags and words complete", serving.until_words(), "s", cold,
        f"{serving.processor():.1f} s of processor")
    row("cold start to substrings complete", serving.until_complete(), "s", (cold or 0) + grams if grams else None,
        f"{serving.processor():.1f} s of processor")
    row("memory of the host then", serving.megabytes(), "MB", most, f"{serving.megabytes('VmHWM'):,.0f} MB at most")
    serving.stop()
    size = sum(file.stat().st_size for file in place.state.rglob("index-*"))
    row("index on disk", size / 1e6, "MB")
    starts = []
    for _ in range(5):
        serving = Serving(place)
        starts.append(serving.until_complete())
        serving.stop()
    row("warm start to a complete answer, median of 5", statistics.median(starts), "s", warm)
    serving = Serving(place)
    serving.until_complete()
    return serving


def measure_edits(tools, notes, what, save, bound):
    chance, times = random.Random(SEED), []
    for number in range(100):
        note, word = chance.choice(notes), f"edit{what[0]}{number:x}x{chance.getrandbits(40):x}"
        text = note.read_text() + f"\n{word}\n"
        save(note, text)
        began = time.perf_counter()
        while not tools("search_notes", query=word)["total"]:
            pass
        times.append(time.perf_counter() - began)
    spread(f"{what} by an editor to found", times, (None, bound))


def replace(note, text):
    fresh = note.with_name("." + note.name + ".swp")
    fresh.write_text(text)
    fresh.rename(note)


def measure_rename(tools, bound):
    began = time.perf_counter()
    answer = tools.ask("move_note", path="Hub.md", to="Middle.md")
    row("rename of a note with a backlink from every other", time.perf_counter() - began, "s", bound,
        "" if answer.status == 200 else f"not answered in time: {answer.status}")
    if answer.status == 200:
        assert tools("note_links", path="Middle.md")["backlinks"]


# Peers

def measure_ripgrep(vault, queries):
    times = []
    for query in queries[:100]:
        word = query.split()[0]
        began = time.perf_counter()
        subprocess.run(["rg", "--files-with-matches", "--ignore-case", "--fixed-strings", "--", word, vault],
                       stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    spread("rg: the notes with one of the words, from no index", times)


OBSIDIANTOOLS = """
import pathlib, sys, time
began = time.perf_counter()
import obsidiantools.api as otools
vault = otools.Vault(pathlib.Path(sys.argv[1])).connect().gather()
print(time.perf_counter() - began, len(vault.md_file_index))
"""


def measure_obsidiantools(vault):
    environment = ROOT / ".build/obsidiantools"
    python = environment / "bin/python"
    if not (environment / "complete").exists():
        shutil.rmtree(environment, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        done = subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "obsidiantools==0.11.0"])
        if done.returncode != 0:
            print("obsidiantools cannot be installed here and is not measured")
            return
        (environment / "complete").touch()
    done = subprocess.run([python, "-W", "ignore", "-c", OBSIDIANTOOLS, vault], capture_output=True, text=True)
    if done.returncode == 0:
        took, count = done.stdout.split()
        row("obsidiantools: links, tags and texts of the vault, each time", float(took), "s", None, f"{count} notes")
    else:
        print(f"obsidiantools failed: {done.stderr.strip().splitlines()[-1]}")


def measure(count):
    bounds = BOUNDS.get(count, (None,) * 4)
    place = Place()
    try:
        shutil.rmtree(place.vault)
        corpus = Corpus(count)
        size = corpus.write(place.vault)
        notes = [place.vault / corpus.path(number) for number in range(count)]
        print(f"{count:,} notes, {size / 1e6:.0f} MB, {6 * count:,} links")
        measure_yardstick(notes, place.root)
        serving = measure_index(place, bounds)
        queries = measure_searches(serving.tools, notes, count <= 10_000)
        measure_edits(serving.tools, notes, "written", pathlib.Path.write_text, 100)
        measure_edits(serving.tools, notes, "replaced", replace, 100)
        measure_ripgrep(place.vault, queries)
        if count <= 10_000:
            measure_rename(serving.tools, 3)
        serving.stop()
        if count <= 10_000:
            measure_obsidiantools(place.vault)
    finally:
        place.close()


if __name__ == "__main__":
    for count in [int(argument.replace(",", "")) for argument in sys.argv[1:]] or BOUNDS:
        measure(count)
