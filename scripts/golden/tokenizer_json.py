#!/usr/bin/env python3
"""Writes tests/data/tokenizer_json: the small tokenizers of tokenizer_kinds.py, and what the package `tokenizers` encodes and decodes
with them.

    texts.json             the strings, from tokenizer_texts.py
    <kind>.json            the tokenizer, as a model's tokenizer.json
    <kind>.expected.json   for each string: "ids" (encode: special tokens in the text are parsed and those around it are added), "plain"
                           (encode_special_tokens, without those around it; null where equal to "ids"), "text" and "shown" (decode of
                           "ids" without and with special tokens; null where equal to the string)

Needs: tokenizers, sentencepiece (scripts/golden/requirements.txt). Usage: tokenizer_json.py [output folder]
"""

import json
import pathlib
import sys

import sentencepiece
import tokenizers

from tokenizer_kinds import KINDS
from tokenizer_texts import FIXED, texts


def golden_texts():
    specials = ["<s>", "</s>", "<|endoftext|>", "<|im_start|>", "<mask>", "[MASK]", "<|user|>", "<tool_call>", "river", "stone"]
    return FIXED + list(texts(160, 11, specials))


def expected(tokenizer, strings):
    ids = [encoding.ids for encoding in tokenizer.encode_batch(strings)]
    tokenizer.encode_special_tokens = True
    plain = [encoding.ids for encoding in tokenizer.encode_batch(strings, add_special_tokens=False)]
    tokenizer.encode_special_tokens = False
    shorter = lambda values, usual: [None if value == other else value for value, other in zip(values, usual)]  # noqa: E731
    return {"ids": ids, "plain": shorter(plain, ids), "text": shorter([tokenizer.decode(row) for row in ids], strings),
            "shown": shorter([tokenizer.decode(row, skip_special_tokens=False) for row in ids], strings)}


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def main():
    target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2] / "tests/data/tokenizer_json")
    target.mkdir(parents=True, exist_ok=True)
    strings = golden_texts()
    versions = {"tokenizers": tokenizers.__version__, "sentencepiece": sentencepiece.__version__}
    write(target / "texts.json", {"versions": versions, "texts": strings})
    for kind in KINDS:
        file = kind().to_str()
        tokenizer = tokenizers.Tokenizer.from_str(file)  # what the file does not hold does not count
        write(target / f"{kind.__name__}.json", json.loads(file))
        write(target / f"{kind.__name__}.expected.json", expected(tokenizer, strings))


if __name__ == "__main__":
    main()
