#!/usr/bin/env python3
"""Compares the speed of lora-tokenize and of Hugging Face's `tokenizers`, on one core and on the same rows.

    tokenizer.py --lora-tokenize PROGRAM [--megabytes N] [--kind NAME]... [--output FILE]

Prints one line per kind of tokenizer: megabytes of text per second of both, and their ratio. Without --kind, the table is also
written to docs/benchmarks.md. The time of a run without rows (start-up, reading the tokenizer) is subtracted from that of
lora-tokenize, which also reads and writes JSON lines, unlike the peer.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from report import table, with_section

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
EXPLANATION = (
    "`lora-tokenize` compared with Hugging Face's `tokenizers` (Rust), both on one core, in megabytes of text per second, for a tokenizer "
    "of each kind in scripts/golden/tokenizer_kinds.py; the best of three runs. Ours also reads and writes JSON lines. Written by "
    "`scripts/bench/tokenizer.py`."
)
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "golden"))


def best_of(count, function):
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return min(times)


def rows_of(megabytes):
    from tokenizer_texts import texts

    prose = [text for index, text in enumerate(texts(80_000, 23)) if index % 8 in (0, 2, 6)]
    rows, size, at = [], 0, 0
    while size < megabytes * 1_000_000:
        row = " ".join(prose[(at + i) % len(prose)] for i in range(40))
        rows.append(row)
        size += len(row.encode())
        at += 40
    return rows, size


def lora_seconds(program, folder, rows):
    source, target = folder / "in.jsonl", folder / "out.jsonl"
    source.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    command = [program, "--model", folder, "--input", source, "--output", target, "--quiet"]
    return best_of(3, lambda: subprocess.run(command, check=True))


def peer_seconds(tokenizer, rows):
    return best_of(3, lambda: [encoding.ids for encoding in tokenizer.encode_batch_fast(rows)])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lora-tokenize", required=True)
    parser.add_argument("--megabytes", type=float, default=8)
    parser.add_argument("--kind", action="append")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("docs/benchmarks.md"), help="not written with --kind")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    from tokenizers import Tokenizer

    from tokenizer_kinds import KINDS

    rows, size = rows_of(arguments.megabytes)
    print(f"{size / 1e6:.1f} MB in {len(rows)} rows\n{'kind':16} {'lora-tokenize':>14} {'tokenizers':>12} {'ratio':>7}")
    lines = []
    for kind in KINDS:
        if arguments.kind and kind.__name__ not in arguments.kind:
            continue
        tokenizer = Tokenizer.from_str(kind().to_str())
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            tokenizer.save(str(folder / "tokenizer.json"))
            ours = lora_seconds(arguments.lora_tokenize, folder, rows) - lora_seconds(arguments.lora_tokenize, folder, [])
        theirs = peer_seconds(tokenizer, rows)
        print(f"{kind.__name__:16} {size / 1e6 / ours:9.1f} MB/s {size / 1e6 / theirs:7.1f} MB/s {theirs / ours:7.2f}", flush=True)
        lines.append([kind.__name__, f"{size / 1e6 / ours:.1f}", f"{size / 1e6 / theirs:.1f}", f"**{theirs / ours:.2f}**"])
    if not arguments.kind:
        text = f"{EXPLANATION}\n\n{table(['', 'lora-tokenize', 'tokenizers', 'ratio'], lines)}".rstrip("\n")
        old = arguments.output.read_text(encoding="utf-8")
        arguments.output.write_text(with_section(old, "tokenizers", text), encoding="utf-8")


if __name__ == "__main__":
    main()
