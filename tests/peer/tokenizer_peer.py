#!/usr/bin/env python3
"""lora-tokenize against Hugging Face's `tokenizers`: every kind of scripts/golden/tokenizer_kinds.py, on texts of every sort.

    tokenizer_peer.py --lora-tokenize PROGRAM --golden scripts/golden [--count N] [--kind NAME]... [--seed N]

Ids of N texts a kind (special tokens recognised and added) must be equal, one by one, and so must the text that the ids are
decoded to. Kinds with a SentencePiece normalisation use its full nmt_nfkc here. Exit code 1 and the first differences if not.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
from functools import partial

from tokenizers import Tokenizer


def run(program, folder, rows, *flags):
    """What lora-tokenize makes of the rows."""
    source, target = folder / "in.jsonl", folder / "out.jsonl"
    with source.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")
    subprocess.run([program, "--model", folder, "--input", source, "--output", target, "--quiet", *flags], check=True)
    with target.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def differences(kind, what, texts, found, expected):
    wrong = [i for i, (a, b) in enumerate(zip(found, expected)) if a != b]
    for i in wrong[:3]:
        print(f"{kind}: {what} of {texts[i]!r}: found {found[i]}, expected {expected[i]}", file=sys.stderr)
    return len(wrong) + abs(len(found) - len(expected))


def check(kind, arguments, texts_of, specials_of):
    tokenizer = Tokenizer.from_str((kind(None) if kind.__code__.co_argcount else kind()).to_str())
    texts = list(texts_of(arguments.count, arguments.seed, specials_of(tokenizer)))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        tokenizer.save(str(folder / "tokenizer.json"))
        ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
        decoded = tokenizer.decode_batch(ids, skip_special_tokens=False)
        found = [row["input_ids"] for row in run(arguments.lora_tokenize, folder, [{"text": text} for text in texts])]
        back = [row["text"] for row in run(arguments.lora_tokenize, folder, [{"input_ids": row} for row in ids], "--decode")]
    wrong = differences(kind.__name__, "ids", texts, found, ids)
    wrong += differences(kind.__name__, "text", texts, back, decoded)
    print(f"{kind.__name__}: {len(texts)} texts, {wrong} differences")
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lora-tokenize", required=True)
    parser.add_argument("--golden", required=True, help="scripts/golden")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--kind", action="append")
    parser.add_argument("--seed", type=int, default=17)
    arguments = parser.parse_args()
    sys.path.insert(0, arguments.golden)
    from tokenizer_kinds import KINDS, specials_of
    from tokenizer_texts import MORE_SORTS, texts

    kinds = [kind for kind in KINDS if not arguments.kind or kind.__name__ in arguments.kind]
    return 1 if sum(check(kind, arguments, partial(texts, sorts=MORE_SORTS), specials_of) for kind in kinds) else 0


if __name__ == "__main__":
    sys.exit(main())
