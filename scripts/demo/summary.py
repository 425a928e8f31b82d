#!/usr/bin/env python3
"""Prints the result of the demo. Exit code 1 if the held-out loss did not fall as expected.

    summary.py --base FOLDER --adapter FOLDER --data NAME [--least-fall FACTOR]

A base model that lora-train itself trained has a metrics.jsonl in its folder; its losses are printed too.
"""
import argparse
import json
import math
import pathlib
import struct
import sys


def evaluations(run):
    """The rows of a run's metrics.jsonl that hold an evaluation: the first before training, the last after it."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if "eval_loss" in row]
    if len(rows) < 2 or rows[0]["step"] != 0:
        sys.exit(f"error: {run}/metrics.jsonl: found {len(rows)} evaluation(s), expected one at step 0 and one at the end")
    return rows


def num_parameters(file):
    """Number of elements of all tensors in a safetensors file."""
    with file.open("rb") as stream:
        header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def perplexity(loss):
    return math.exp(min(loss, 700.0))


def line(name, before, after):
    print(f"  {name:<34}{before:>14}{after:>14}")


def print_losses(name, rows):
    line(f"{name}: loss", f"{rows[0]['eval_loss']:.3f}", f"{rows[-1]['eval_loss']:.3f}")
    line(f"{name}: perplexity", f"{perplexity(rows[0]['eval_loss']):,.1f}", f"{perplexity(rows[-1]['eval_loss']):,.2f}")


def print_sizes(base_file, adapter_file):
    total, trained = num_parameters(base_file), num_parameters(adapter_file)
    line("", "base", "adapter")
    line("parameters", f"{total:,}", f"{trained:,}")
    line("share of all parameters", "", f"{100 * trained / (total + trained):.2f} %")
    line("file size", f"{base_file.stat().st_size / 1e6:.2f} MB", f"{adapter_file.stat().st_size / 1e6:.2f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=pathlib.Path, required=True)
    parser.add_argument("--adapter", type=pathlib.Path, required=True)
    parser.add_argument("--data", required=True, help="name of the held-out rows")
    parser.add_argument("--least-fall", type=float, default=1.0, help="least ratio of the held-out losses before and after LoRA")
    arguments = parser.parse_args()

    print()
    line("held-out data", "before", "after")
    pretraining = evaluations(arguments.base) if (arguments.base / "metrics.jsonl").exists() else None
    if pretraining:
        print_losses("stories (pre-training)", pretraining)
    rows = evaluations(arguments.adapter)
    print_losses(arguments.data, rows)
    print()
    print_sizes(arguments.base / "model.safetensors", arguments.adapter / "adapter_model.safetensors")
    print(f"\n  base model   {arguments.base}\n  LoRA adapter {arguments.adapter}")

    before, after = rows[0]["eval_loss"], rows[-1]["eval_loss"]
    fell = math.isfinite(after) and before >= arguments.least_fall * after
    if pretraining and pretraining[-1]["eval_loss"] >= pretraining[0]["eval_loss"]:
        fell = False
    if not fell:
        print(f"error: expected the held-out loss ({arguments.data}) to fall by a factor of at least {arguments.least_fall:g}: found "
              f"{before:.3f} before, {after:.3f} after", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
