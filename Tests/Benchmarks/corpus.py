"""A vault made of a seed: words as frequent as Zipf and Mandelbrot say, and what people write around them.

    python3 corpus.py FOLDER [NOTES]

About 2,000 bytes and 6 links a note, in folders of some hundred notes: front matter with tags and properties, headings,
lists with tasks, inline tags, wikilinks and Markdown links. Words are invented, short ones frequent, like a language's;
one in 250 occurs nowhere else, as numbers and names do. One note in 50 is written in Chinese characters. `Hub.md` has
NOTES backlinks and more, the other links go to few notes often and to many seldom. The same seed makes the same bytes.
"""

import bisect
import itertools
import pathlib
import random
import sys

SEED = 5
CONSONANTS, VOWELS = "bcdfghjklmnprstvwz", ["a", "e", "i", "o", "u", "ä", "ea", "io"]
TAGS = [f"{area}/{part}" for area in ("project", "area", "person", "book", "recipe") for part in range(40)] + ["todo", "idea", "daily"]


class Language:
    """Invented words by their rank, and text in which they are as frequent as their ranks say."""

    def __init__(self, chance, size):
        self.chance = chance
        self.words = []
        known = set()
        while len(self.words) < size:
            # About as long as an English word of this rank.
            rank = len(self.words)
            length = 1 + (rank >= 30 or chance.random() < 0.4) + (rank >= 2000) + (chance.random() < 0.3)
            word = "".join(self.syllable() for _ in range(length))
            if word not in known:
                known.add(word)
                self.words.append(word)
        weights = [1 / (rank + 2.7) for rank in range(size)]
        self.sums = list(itertools.accumulate(weights))

    def syllable(self):
        end = self.chance.choice("nrstlk") if self.chance.random() < 0.3 else ""
        return self.chance.choice(CONSONANTS) + self.chance.choices(VOWELS, (9, 9, 8, 8, 5, 1, 1, 1))[0] + end

    def take(self, count):
        chosen, most = [], self.sums[-1]
        for _ in range(count):
            at = self.chance.random()
            if at < 0.004:
                chosen.append(f"{self.syllable()}{self.chance.getrandbits(32):x}")
            else:
                chosen.append(self.words[min(bisect.bisect(self.sums, self.chance.random() * most), len(self.words) - 1)])
        return chosen


class Corpus:
    def __init__(self, notes, seed=SEED):
        self.notes = notes
        self.chance = random.Random(seed)
        self.language = Language(self.chance, 30_000 if notes <= 20_000 else 120_000)
        self.titles = ["Hub"]
        for number in range(1, notes):
            first, second = self.language.take(2)
            self.titles.append(f"{first} {second} {number}".capitalize())
        folders = max(1, notes // 200)
        self.folders = ["" if number == 0 else f"{self.language.words[number % folders + 50]}{number % folders}"
                        for number in range(notes)]
        weights = [1 / (rank + 10) ** 0.8 for rank in range(notes)]
        self.sums = list(itertools.accumulate(weights))

    def path(self, number):
        folder = self.folders[number]
        return f"{folder}/{self.titles[number]}.md" if folder else f"{self.titles[number]}.md"

    def somebody(self):
        return min(bisect.bisect(self.sums, self.chance.random() * self.sums[-1]), self.notes - 1)

    def link(self):
        number = self.somebody()
        kind = self.chance.random()
        if kind < 0.6:
            return f"[[{self.titles[number]}]]"
        if kind < 0.8:
            return f"[[{self.titles[number]}|{self.language.take(1)[0]}]]"
        if kind < 0.9:
            return f"[[{self.titles[number]}#{self.language.take(1)[0].capitalize()}]]"
        return f"[{self.language.take(1)[0]}]({self.path(number).replace(' ', '%20')})"

    def sentence(self, extra=None):
        words = self.language.take(self.chance.randint(5, 18))
        if extra:
            words.insert(self.chance.randrange(len(words)), extra)
        text = " ".join(words)
        return text[0].upper() + text[1:] + "."

    def chinese(self, count):
        return "".join(chr(0x4E00 + min(int(self.chance.paretovariate(0.7)) - 1, 3000)) for _ in range(count)) + "。"

    def text(self, number):
        chance, parts = self.chance, []
        tags = chance.sample(TAGS, chance.randint(0, 3))
        lines = ["---", f"created: 20{chance.randint(15, 26)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
                 f"status: {chance.choice(['open', 'done', 'waiting'])}", f"rating: {chance.randint(1, 10)}"]
        if tags:
            lines.append("tags: [" + ", ".join(tags) + "]")
        if chance.random() < 0.2:
            lines.append(f"aliases: [\"{' '.join(self.language.take(2))}\"]")
        parts.append("\n".join([*lines, "---", f"# {self.titles[number]}", "", f"Up: [[Hub]]"]) + "\n")
        links = 5
        isChinese = number % 50 == 49
        length, most = 0, int(min(20_000, chance.lognormvariate(7.28, 0.6)))
        while length < most:
            kind = chance.random()
            if isChinese:
                part = "".join(self.chinese(chance.randint(6, 25)) for _ in range(4))
            elif kind < 0.12:
                part = f"{'#' * chance.randint(2, 4)} {' '.join(self.language.take(3)).capitalize()}"
            elif kind < 0.25:
                part = "\n".join(f"- {chance.choice(['', '[ ] ', '[x] '])}{self.sentence()}" for _ in range(chance.randint(2, 5)))
            else:
                extra = None
                if links and chance.random() < 0.8:
                    extra, links = self.link(), links - 1
                elif chance.random() < 0.1:
                    extra = f"#{chance.choice(TAGS)}"
                part = " ".join([self.sentence(extra), *(self.sentence() for _ in range(chance.randint(0, 4)))])
            length += len(part.encode()) + 2
            parts.append(part + "\n")
        for _ in range(links):
            parts.append(f"See {self.link()}.\n")
        return "\n".join(parts)

    def write(self, folder):
        folder = pathlib.Path(folder)
        for name in sorted(set(self.folders)):
            (folder / name).mkdir(parents=True, exist_ok=True)
        size = 0
        for number in range(self.notes):
            text = self.text(number).encode()
            size += len(text)
            (folder / self.path(number)).write_bytes(text)
        return size


if __name__ == "__main__":
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    print(f"{count} notes, {Corpus(count).write(sys.argv[1]) / 1e6:.1f} MB")
