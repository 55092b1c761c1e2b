"""Obsidian's query language through search_notes: every operator finds its notes and shows the lines that say why."""

import json
import re
import time

import pytest

NOTES = {
    "Kitchen/Bread.md": """---
status: open
rank: 3
tags: [baking]
empty:
---
# Bread
Mix flour and water.
Let it rest, RYE needs longer.

- [ ] buy flour
- [x] clean the oven
## Notes
baked on 2024-05-01 #rye/dark
""",
    "Garden.md": """# Garden
flour moth in the pantry
## Water
The barrel is full.

Café by the pond.
""",
}

# (query, {note: the lines that are shown})
QUERIES = [
    ("flour water", {"Kitchen/Bread.md": [8, 11], "Garden.md": [2, 3]}),
    ("lour", {"Kitchen/Bread.md": [8, 11], "Garden.md": [2]}),
    ("cafe", {"Garden.md": [6]}),
    ('"flour and"', {"Kitchen/Bread.md": [8]}),
    ("moth OR oven", {"Garden.md": [2], "Kitchen/Bread.md": [12]}),
    ("flour -(moth pond)", {"Kitchen/Bread.md": [8, 11]}),
    ("file:bread", {"Kitchen/Bread.md": []}),
    ("path:kitchen/ flour", {"Kitchen/Bread.md": [8, 11]}),
    ("content:garden", {"Garden.md": [1]}),
    ("tag:baking", {"Kitchen/Bread.md": [4]}),
    ("tag:#rye", {"Kitchen/Bread.md": [14]}),
    ("line:(mix water)", {"Kitchen/Bread.md": [8]}),
    ("block:(mix rest)", {"Kitchen/Bread.md": [8, 9]}),
    ("section:(barrel pond)", {"Garden.md": [4, 6]}),
    ("task:(flour OR oven)", {"Kitchen/Bread.md": [11, 12]}),
    ("task-todo:flour", {"Kitchen/Bread.md": [11]}),
    ("task-done:/./", {"Kitchen/Bread.md": [12]}),
    ("match-case:RYE", {"Kitchen/Bread.md": [9]}),
    ("match-case:(RYE ignore-case:OVEN)", {"Kitchen/Bread.md": [9, 12]}),
    ("[status]", {"Kitchen/Bread.md": [2]}),
    ("[status:open OR done]", {"Kitchen/Bread.md": [2]}),
    ("[rank:<5]", {"Kitchen/Bread.md": [3]}),
    ("[empty:null]", {"Kitchen/Bread.md": [5]}),
    (r"/\d{4}-\d{2}-\d{2}/", {"Kitchen/Bread.md": [14]}),
    ("line:(/^let/ -water)", {"Kitchen/Bread.md": [9]}),
    ("flour:water", {}),
]


def empty(place):
    for note in place.vault.rglob("*.md"):
        note.unlink()


def test_each_operator_finds_its_notes_and_shows_the_lines_that_say_why(place):
    empty(place)
    for path, text in NOTES.items():
        (place.vault / path).parent.mkdir(exist_ok=True)
        (place.vault / path).write_text(text)
    place.serve()
    place.wait_until_indexed()
    for query, expected in QUERIES:
        answer = place.call("vault.search_notes", query=query)
        found = {note["path"]: [line["line"] for line in note["lines"]] for note in answer["notes"]}
        assert found == expected, query
        assert answer["total"] == len(expected), query
        for note in answer["notes"]:
            lines = NOTES[note["path"]].split("\n")
            assert all(lines[line["line"] - 1].strip() == line["text"] for line in note["lines"]), query


@pytest.mark.parametrize("query, reason", [
    ("flour (water", r"character 7: this '\(' has no '\)'"), ('say "hi', "character 5: this quote has no end"), ("tag: x", "character 5: what tag: looks for"),
    ("[status:]", r"character 9: .*\[name:null\]"), ("a OR", "character 5: .*missing"), ("/(?=a)b/", "character 2: .*look-ahead"),
])
def test_a_query_that_cannot_be_read_is_answered_with_the_place_and_what_is_allowed(place, query, reason):
    place.serve()
    refused = place.knap("call", "vault.search_notes", json.dumps({"query": query}), "--state", str(place.state))
    assert refused.returncode != 0 and re.search(reason, refused.stderr), refused.stderr


def test_no_pattern_hangs_the_vault(place):
    empty(place)
    (place.vault / "Long.md").write_text("a" * 500_000 + "\n")
    place.serve()
    place.wait_until_indexed()
    for pattern in ["(a+)+b", "(a|a)*b", "a*a*a*a*a*b", "(a?){40}a{40}b", "[ab]*a[ab]{200}c"]:
        began = time.monotonic()
        assert place.call("vault.search_notes", query=f"/{pattern}/")["total"] == 0
        assert time.monotonic() - began < 20, pattern
