"""Texts that are difficult for tokenizers, from a seed: used by tokenizer_json.py and tests/peer/tokenizer_peer.py.

`texts(count, seed, specials)` returns strings of every sort below; `specials` are contents of added tokens to insert.
"""

import random
import unicodedata

WORDS = (
    "the a of and to in is was it for on with as at by from river stone light cloud small green silver bread night don't "
    "walks sings reads opens closes finds keeps little garden window morning letter it's we'LL I'VE they'Re he'S X'ſ I'D 'm "
    "Hello WORLD camelCase HTTPServer naïve café Straße İstanbul ǅungla ΣΊΣΥΦΟΣ 2024 3.14159 1,000,000 0x1F ½ ² Ⅷ ٣٤ ①②").split()
FOREIGN = ("Привет мир Ёлка Ωμέγα όλα 日本語 明るい カタカナ ひらがな 中文字符 測試 한국어 조선말 हिन्दी क्षत्रिय ไทย สวัสดี தமிழ் مرحبا بالعالم "
           "שלום עוֹלָם 𝔘𝔫𝔦 ﬁﬂ ＡＢＣ１２ Ǆ ẞ").split()
CODE = ["def ", "return", "    ", "\t", "\n", "\r\n", "x", "i", "self.", "foo_bar", "(", ")", "{", "}", "[", "];", " = ", " == ", "->",
        "::", "//", "/*", "*/", "#include <", ">", '"', "'", "\\n", "0", "12", "1e-5", "0xFF", ", ", "; ", " && ", "||", "!", "%", "$",
        "@", "import os", "\n\n", "\n    ", "\n        ", "   ", "'s", "'re", "```", "<|", "|>", "</", "_", "__init__"]
EMOJI = ["😀", "👩", "👨", "👧", "❤", "🏳", "🌈", "👍", "🎉", "🚀", "🇩", "🇪", "🇯", "🇵", "1", "#", "🏴", "🫠", "🪿", "☺", "©", "⌚"]
JOINERS = ["\u200d", "\ufe0f", "\ufe0e", "🏻", "🏽", "🏿", "\u20e3", "\U000e0067", "\U000e007f", "\u200b", "\u200c", "\u0301", "\u20dd"]
RTL = ["א", "ב", "ש", "ל", "ם", "\u05b0", "\u05bc", "ا", "ب", "ت", "ي", "ـ", "\u064b", "\u0651", "\u0670", "\u0897", "ﷺ", "ﻻ", "\u200f",
       "\u200e", "\u202a", "\u202b", "\u202c", "\u202e", "\u2066", "\u2069", "،", "؟", "٣", "۴", " ", "a", "\u061c"]
CONTROLS = [chr(code) for code in [*range(0x20), *range(0x7F, 0xA1), 0xAD, 0x34F, 0x180E, *range(0x2000, 0x2010), *range(0x2028, 0x2030),
                                   0x205F, *range(0x2060, 0x2070), 0x3000, 0xFEFF, 0xFFF9, 0xFFFC, 0xFFFD, 0xFFFE, 0xFFFF, 0xE000, 0x10FFFF,
                                   0xFDD0, 0x1FFFE, 0xE0001, 0x1680]] + ["a", " ", "é", "\r\n"]
SPACES = [" ", " ", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\u00a0", "\u3000", "\u2003", "▁", "\x0b", "\x85"]
MARKS = [chr(code) for code in range(0x110000) if code not in range(0xD800, 0xE000) and unicodedata.category(chr(code))[0] == "M"]
DECOMPOSED = [chr(code) for code in range(0x110000) if code not in range(0xD800, 0xE000) and unicodedata.decomposition(chr(code))]


# Characters that the rules for grapheme clusters distinguish.
CLUSTERS = [*"\u0600\u06dd\u070f\u0d4e\U000110bd\U000111c2", *"कखग\u0958বઅક\u1000\u1780", *"\u094d\u09cd\u0acd\u1039\u17d2\U00011133",
            *"\u093c\u0308\u0301\u0301\u0323\u0327\u093e\u0903\u0e33", *"\u200d\u200d\u200d\u200c\ufe0f\U0001f3fd\u034f", *"©™‼㊗ℹⓂ👩❤🇩🇪",
            *"\u1100\u1161\u11a8\ua960\ud7b0\ud7cb가각", *"eaéﬁＡＢ½\r\n\xad\u200b\u2028"]


def code_point(chance):
    """Any scalar value, more often one that is in use."""
    first, last = chance.choice([(0x20, 0x7F), (0x20, 0x250), (0x250, 0x700), (0x700, 0x2000), (0x2000, 0x3400), (0x3400, 0xD800),
                                 (0xE000, 0x10000), (0x10000, 0x12000), (0x16000, 0x19000), (0x1A000, 0x20000), (0x20000, 0x33000),
                                 (0xE0000, 0xE0200), (0x0, 0x110000)])
    while True:
        code = chance.randrange(first, last)
        if code not in range(0xD800, 0xE000):
            return chr(code)


def pick(chance, items, most):
    return "".join(chance.choice(items) for _ in range(chance.randint(1, most)))


def words(chance):
    out = [chance.choice(chance.choice([WORDS, WORDS, FOREIGN])) for _ in range(chance.randint(1, 10))]
    return chance.choice([" ", " ", " ", "  ", ", ", "\n", ""]).join(out) + chance.choice(["", ".", "!", "?!", "…", " ", "'", "''", "``"])


def runs(chance):
    return "".join(chance.choice(SPACES) * chance.randint(1, chance.choice([2, 5, 40])) + chance.choice(["", "a", "Hi", "1", ".", "é", "日"])
                   for _ in range(chance.randint(1, 6)))


def marks(chance):
    return "".join(chance.choice([chance.choice(MARKS), chance.choice(DECOMPOSED), chance.choice("aeio 가각"), chance.choice(RTL)])
                   for _ in range(chance.randint(1, 10)))


def clusters(chance):
    return "".join(chance.choice([*chance.choices(CLUSTERS, k=3), chance.choice(MARKS), "e\u0301", chance.choice(DECOMPOSED),
                                  chr(chance.randrange(0x300, 0x3000))]) for _ in range(chance.randint(2, 14)))


SORTS = [
    words,
    lambda chance: "".join(code_point(chance) for _ in range(chance.randint(1, 24))),
    lambda chance: pick(chance, CODE, 24),
    lambda chance: pick(chance, EMOJI + JOINERS, 12),
    lambda chance: pick(chance, RTL, 24),
    lambda chance: pick(chance, CONTROLS, 12),
    runs,
    marks,
]


MORE_SORTS = [*SORTS, clusters]  # only SORTS make up the corpus on which the tokenizers of tokenizer_kinds.py are trained


def texts(count, seed, specials=(), sorts=SORTS):
    chance = random.Random(seed)
    for index in range(count):
        text = sorts[index % len(sorts)](chance)
        if chance.random() < 0.15:
            text = sorts[chance.randrange(len(sorts))](chance) + text
        if specials and chance.random() < 0.2:
            at = chance.randint(0, len(text))
            text = text[:at] + chance.choice(["", "", " ", "  "]) + chance.choice(specials) + chance.choice(["", "", " ", "\n"]) + text[at:]
        yield text


FIXED = [
    "", " ", "  ", "   a   b   ", "hello", " hello", "hello ", "Hello, world!", "\n", "\n\n", "a\nb", "a\r\nb", "\t", "a\tb", "\x00",
    "a\x00b", "<0x41>", "▁", "▁▁the▁river", "_", "0", "12345", "1234567890", "3.14159", "½ cup of ﬁne ﬂour", "ＡＢ", "a\u00a0b",
    "a\u200bb", "\ufeffx", "é", "e\u0301", "ẹ\u0301", "Å\u030a", "日本語", "한국어", "हिन्दी", "😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇯🇵", "👍🏽",
    "\U0010ffff", "\uffff", "\ufffd", "a" * 300, "ab " * 60, " " * 64, " " * 9 + "a", "\n" * 7 + "a",
    "    def f(x):\n        return x\n", "I'm we'll THEY'RE it'S x'ſ", "don''t", "…—–", "ﷺ", "Ǆ", "ß", "İi̇ıI", "K\u212a", "\u1e9e",
    "\u0344\u0f73", "a" + "\u0301\u0323" * 40, "\u1100\u1161\u11a8", "\u0dd9\u0dcf", "½\u0897ﬁ\u0301",
    # Grapheme clusters: characters before a letter, conjuncts of consonants, emoji of several parts, syllables.
    "\u0600e\u0301", "\U000110bde\u0301x", "\u0600\r\ne\u0301", "\u0600\u0601e\u0301\u200d", "क\u094dक\u0301", "क\u094d\u200c\u094dक\u0301",
    "कक\u0301", "⌚\u200d©\u0301", "⌚\u0301\u200dﬁ\u0301", "⌚\u200d\u0301©\u0301", "\u1100가\u0301",
    "가가\u0301", "🇩🇪🇯e\u0301", "\xade\u0301", "e\u200d\u0301",
    # Marks that swap positions with the expansion of the first character: the start of the text decides whether a space is added.
    "\u2017\u05bca", "\ufe7e\u0acd\u0d4e", "\ufc60\u1be6\u064b\u1df3a\u1e6d", "\u00a8\u0323",
    "\u00b4e\u0301", "\u0344\u0323a", "\u3000\u0301\u0323",
]


