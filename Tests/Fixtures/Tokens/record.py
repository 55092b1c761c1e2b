"""Records what the package `tokenizers` makes of texts of all kinds, and the first numbers of some texts' vectors.

record.py FOLDER >tokens.json, with `pip install tokenizers==0.23.3`; FOLDER holds the model, as share/knap/WordLlama.
"""

import json
import math
import random
import struct
import sys

from tokenizers import Tokenizer

TEXTS = [
    "", " ", "  ", "a", " a", "a ", "  two  blanks  ", "Hello, world!", "How do I postpone a task until next week?",
    "line one\nline two\r\n\ttab", "▁", "▁▁ a▁b", "a ▁ b", "don't can't it's", "CamelCaseWords snake_case kebab-case",
    "supercalifragilisticexpialidocious " * 2, "antidisestablishmentarianism" * 8, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    " " * 16, " " * 37 + "x", "----------------", "=" * 50, "1234567890 3.14159 1e-9 0xFF", "2024-02-29T12:00:00Z",
    "Größe, naïve café, Ærøskøbing, Łódź, İstanbul", "e\u0301 versus \u00e9", "Привет, мир", "Γειά σου Κόσμε", "שלום עולם", "مرحبا بالعالم",
    "東京に住んでいます", "私は猫です。名前はまだ無い。", "你好，世界。今天天气很好", "안녕하세요 세계", "สวัสดีชาวโลก", "नमस्ते दुनिया",
    "😀", "👩‍👩‍👧‍👦 family", "🇩🇪🏳️‍🌈", "📅 2024-01-01 ⏫ 🔁 every day", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈", "\u0000\u0001\u001f\u007f", "\u200b\u200d\ufeff\u00a0\u3000",
    "\ufffd \U0010ffff \ue000", "<s>", "</s> a <unk>b", "a<s>b</s>", "<s", "<<s>>", "<0x41> <0x0A>", "&lt;s&gt;",
    "[[Wiki Link|shown]] ![[embed.png]] #tag/nested ^block-id", "```swift\nlet x = 1\n```", "| a | b |\n|---|---|\n| 1 | 2 |",
    "https://example.org/path?q=1&r=2#frag", "def f(x):\n    return x ** 2  # comment", "\\frac{1}{2} $\\alpha$", "%%comment%% ==mark== ~~gone~~",
    "ﬁ ligature ½ ² ™", "Zażółć gęślą jaźń", "ÿ þ ð", "a\u0300\u0301\u0302b", "\t\t\tindented", "\n\n\n", "x\ny", "end with newline\n",
]


def vector(table, tokens):
    """The mean of the tokens' rows, of length 1."""
    start = 8 + struct.unpack_from("<Q", table)[0]
    rows = [struct.unpack_from("<256e", table, start + token * 512) for token in tokens]
    mean = [sum(column) / len(rows) for column in zip(*rows)]
    length = math.sqrt(sum(number * number for number in mean))
    return [number / length for number in mean]


def main():
    tokenizer = Tokenizer.from_file(sys.argv[1] + "/tokenizer.json")
    table = open(sys.argv[1] + "/table.safetensors", "rb").read()
    tokenizer.no_padding()
    chance = random.Random(1)
    texts = list(TEXTS)
    alphabets = ["abcdefghijklmnop  ", "aeinrst ▁", "\u4e00\u4e8c\u4e09\u56db \u3042\u3044", "éèüß ØÅ", " .,;:!?-_()[]{}<>/s", "0123456789 .-", "😀🎉👍 a\u200d"]
    texts += ["".join(chance.choices(chance.choice(alphabets), k=chance.randrange(1, 80))) for _ in range(150)]
    texts += ["".join(chr(chance.choice([chance.randrange(1, 0xD800), chance.randrange(0xE000, 0x110000), chance.randrange(32, 127)])) for _ in range(20)) for _ in range(50)]
    known = [{"text": text, "tokens": tokenizer.encode(text, add_special_tokens=False).ids} for text in texts]
    for each in known[3:60]:
        each["vector"] = [round(number, 6) for number in vector(table, each["tokens"])[:4]]
    print("[\n" + ",\n".join(json.dumps(each) for each in known) + "\n]")


main()
