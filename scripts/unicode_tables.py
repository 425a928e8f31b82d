#!/usr/bin/env python3
"""Writes src/tokenizer/unicode/categories.inc, breaks.inc and sets.inc: how Hugging Face's `tokenizers` classifies each code point.

Its parts use several versions of Unicode (Oniguruma in Split and Replace, Rust's own in Digits, the regex crate in
Whitespace, an old one in the BERT parts), all of them different from those of PCRE2 and ICU. So the tables are not copied
from a Unicode file: the package itself processes every code point, and the result is recorded.

Needs: tokenizers, sentencepiece (scripts/golden/requirements.txt). Usage: unicode_tables.py [output folder]
"""

import pathlib
import sys
import textwrap

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

sys.path.insert(0, str(pathlib.Path(__file__).parent / "golden"))
from sentencepiece_rules import charsmap  # noqa: E402

SURROGATES = range(0xD800, 0xE000)
ALL = [chr(code) for code in range(0x110000) if code not in SURROGATES]
TEXT = "".join(ALL)
CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co Cn".split()
SCRIPTS = "Arabic Bopomofo Cyrillic Devanagari Greek Han Hangul Hebrew Hiragana Katakana Latin Thai".split()
JOINERS = (0x200C, 0x200D)
WIDTH = 138


def in_class(item):
    """The code points that an Oniguruma class item such as \\p{L} matches."""
    return {ord(c) for c in normalizers.Replace(Regex(f"[^{item}]+"), "").normalize_str(TEXT)}


def alone(pre_tokenizer, between, count):
    """The code points c for which `between`, with c in its middle, is split into `count` pieces."""
    left, right = between
    return {ord(c) for c in ALL if len(pre_tokenizer.pre_tokenize_str(left + c + right)) == count}


def removed(normalizer):
    return {ord(c) for c in ALL if normalizer.normalize_str(c) == ""}


def whole(before, end):
    """The code points c for which before(c) and `end` (at most five bytes) are one grapheme cluster: Precompiled replaces a short
    cluster as a whole, and the characters of other clusters one by one."""
    normalizer = normalizers.Precompiled(charsmap([(end, "1")]))
    return {ord(c) for c in ALL if not normalizer.normalize_str(before(c) + end).endswith("1")}


def joining():
    """The code points that are one grapheme cluster with a letter before them."""
    normalizer = normalizers.Precompiled(charsmap([("e", "1")]))
    return {ord(c) for c in ALL if normalizer.normalize_str("e" + c) == "1"}


def breaks():
    """Kinds of code points that the rules of UAX #29 for grapheme clusters distinguish, by name."""
    acute, virama, everything, syllables = "\u0301", "\u094d", {ord(c) for c in ALL}, set(range(0xAC00, 0xD7A4))
    prepend = whole(lambda c: c, "e" + acute)
    pictograph = whole(lambda c: c + "\u200d", "©" + acute)
    extend = whole(lambda c: "⌚" + c + "\u200d", "©" + acute) - pictograph - prepend
    linker = whole(lambda c: "क" + c, "क" + acute) - prepend
    within = whole(lambda c: "क" + c + virama, "क" + acute) - prepend  # code points that may be in a conjunct of consonants
    consonant = whole(lambda c: c + virama, "क" + acute) - prepend
    before_vowel, before_tail = (whole(lambda c: c, end + acute) - prepend for end in ("\u1161", "\u11a8"))
    assert linker <= extend and within - consonant == extend - {JOINERS[0]} | {JOINERS[1]}
    return {"Control": everything - whole(lambda c: c, acute + "\u0302"), "Prepend": prepend, "Joiner": {JOINERS[1]},
            "NonJoiner": {JOINERS[0]}, "Linker": linker, "Extend": extend - linker - {JOINERS[0]},
            "Spacing": joining() - extend - {JOINERS[1]}, "Pictograph": pictograph, "Consonant": consonant,
            "Lead": whole(lambda c: c, "가" + acute) - prepend, "Syllable": syllables,
            "Vowel": before_vowel & before_tail - syllables, "Tail": before_tail - before_vowel - syllables,
            "Regional": set(range(0x1F1E6, 0x1F200))}


def bert(**options):
    off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
    return normalizers.BertNormalizer(**{**off, **options})


def ranges(codes):
    """Pairs first, last."""
    flat = []
    for code in sorted(codes):
        if flat and flat[-1] == code - 1:
            flat[-1] = code
        else:
            flat += [code, code]
    return flat


def lowercase():
    """Runs of first, last, distance between two members, number to add."""
    steps = [(ord(c), ord(low) - ord(c)) for c in ALL if len(low := normalizers.Lowercase().normalize_str(c)) == 1 and low != c]
    runs = []
    for code, add in steps:
        if runs and runs[-1][3] == add and code - runs[-1][1] in (1, 2) and (runs[-1][2] in (0, code - runs[-1][1])):
            runs[-1][2] = code - runs[-1][1]
            runs[-1][1] = code
        else:
            runs.append([code, code, 0, add])
    longer = [c for c in ALL if len(normalizers.Lowercase().normalize_str(c)) != 1]
    assert longer == ["\u0130"], longer  # src/tokenizer/unicode/properties.cpp knows it
    return [number for first, last, step, add in runs for number in (first, last, max(step, 1), add)]


def table(name, numbers, comment, kind="uint32_t"):
    lines, line = [], " "
    for number in numbers:
        word = f" {hex(number) if number >= 0 else number},"
        if len(line) + len(word) > WIDTH:
            lines.append(line)
            line = " "
        line += word
    lines.append(line)
    return f"// {comment}\ninline constexpr {kind} {name}[] = {{\n" + "\n".join(lines) + "\n};\n"


def head():
    return (f"// Made by scripts/unicode_tables.py from tokenizers {tokenizers.__version__}, by asking it about every code point. "
            "Not to be edited.\n")


def categories_file():
    kind = ["Cn"] * 0x110000
    for name in CATEGORIES:
        for code in in_class(rf"\p{{{name}}}"):
            kind[code] = name
    for code in SURROGATES:
        kind[code] = "Cs"
    order = CATEGORIES + ["Cs"]
    numbers = [(code << 5) | order.index(kind[code]) for code in range(0x110000) if code == 0 or kind[code] != kind[code - 1]]
    names = ",\n    ".join(", ".join(f'"{name}"' for name in order[i:i + 10]) for i in range(0, len(order), 10))
    return (head() + f"inline constexpr const char* kCategoryNames[] = {{\n    {names}}};\n" +
            table("kCategories", numbers, "Where a general category begins: code point << 5 | index of its name."))


def breaks_file():
    kinds = breaks()
    of = {code: index for index, codes in enumerate(kinds.values(), 1) for code in codes}
    assert len(of) == sum(map(len, kinds.values()))  # no two kinds share a code point
    at = [of.get(code, 0) for code in range(0x110000)]
    numbers = [(code << 4) | at[code] for code in range(0x110000) if code == 0 or at[code] != at[code - 1]]
    names = textwrap.fill(", ".join(f"k{name}" for name in ["Other", *kinds]), WIDTH, initial_indent="  ", subsequent_indent="  ")
    return (head() + "// What the rules for grapheme clusters (UAX #29) tell apart. Linker: joins two consonants, Spacing: SpacingMark.\n"
            f"enum class Break : uint8_t {{\n{names}\n}};\n" +
            table("kBreaks", numbers, "Where a kind begins: code point << 4 | kind."))


def sets_file():
    space = in_class(r"\s")
    assert space == alone(pre_tokenizers.WhitespaceSplit(), "ab", 2)
    word = alone(pre_tokenizers.Whitespace(), "ab", 1)
    assert word - in_class(r"\w") == set(JOINERS) and not in_class(r"\w") - word  # src/tokenizer/unicode/properties.cpp knows them
    both = [
        ("kSpace", space, "White_Space."),
        ("kWord", word, "\\w of the pre-tokenizer Whitespace and of added tokens; Oniguruma's is without the two joiners."),
        ("kNumeric", alone(pre_tokenizers.Digits(individual_digits=True), "ab", 3), "The pre-tokenizer Digits."),
        ("kPunctuation", alone(pre_tokenizers.Punctuation(), "ab", 3), "The pre-tokenizers Punctuation and BertPreTokenizer."),
        ("kControl", removed(bert(clean_text=True)), "What BertNormalizer's clean_text removes."),
        ("kAccent", removed(bert(strip_accents=True)), "What BertNormalizer's strip_accents removes."),
        ("kMark", removed(normalizers.StripAccents()), "What StripAccents removes."),
    ]
    text = head() + "// Pairs: first and last code point.\n"
    for name, codes, comment in both:
        text += table(name, ranges(codes), comment)
    for script in SCRIPTS:
        text += table("k" + script, ranges(in_class(rf"\p{{{script}}}")), f"Script {script}.")
    return text + table("kLowercase", lowercase(), "Fours: first, last, distance of two members, what to add.", "int32_t")


def main():
    target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1] / "src/tokenizer/unicode")
    (target / "categories.inc").write_text(categories_file(), encoding="utf-8")
    (target / "breaks.inc").write_text(breaks_file(), encoding="utf-8")
    (target / "sets.inc").write_text(sets_file(), encoding="utf-8")


if __name__ == "__main__":
    main()
