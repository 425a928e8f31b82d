#!/usr/bin/env python3
"""Prints what the demo came to; exit code 1 if the held-out loss did not fall as it must.

    summary.py WORK_DIR [--least-fall FACTOR]
"""
import argparse
import json
import math
import pathlib
import struct
import sys


def evaluations(run):
    """The rows of metrics.jsonl that hold an evaluation."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if "eval_loss" in row]


def num_parameters(file):
    """Elements of all tensors of a safetensors file."""
    with file.open("rb") as stream:
        header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def perplexity(loss):
    return math.exp(min(loss, 700.0))


def line(name, before, after):
    print(f"  {name:<34}{before:>14}{after:>14}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--least-fall", type=float, default=1.0, help="least ratio of the held-out losses before and after LoRA")
    arguments = parser.parse_args()
    base, adapter = arguments.work / "base", arguments.work / "adapter"
    base_file, adapter_file = base / "model.safetensors", adapter / "adapter_model.safetensors"

    stories, reports = evaluations(base), evaluations(adapter)
    for name, rows in ((base, stories), (adapter, reports)):
        if len(rows) < 2 or rows[0]["step"] != 0:
            print(f"error: {name}/metrics.jsonl: found {len(rows)} evaluation(s), expected one at step 0 and one at the end", file=sys.stderr)
            return 1
    total, trained = num_parameters(base_file), num_parameters(adapter_file)
    base_size, adapter_size = base_file.stat().st_size, adapter_file.stat().st_size

    print()
    line("held-out data", "before", "after")
    for name, rows in (("stories (pre-training)", stories), ("reports (LoRA)", reports)):
        line(f"{name}: loss", f"{rows[0]['eval_loss']:.3f}", f"{rows[-1]['eval_loss']:.3f}")
        line(f"{name}: perplexity", f"{perplexity(rows[0]['eval_loss']):,.1f}", f"{perplexity(rows[-1]['eval_loss']):,.2f}")
    print()
    line("", "base", "adapter")
    line("parameters", f"{total:,}", f"{trained:,}")
    line("share of all parameters", "", f"{100 * trained / (total + trained):.2f} %")
    line("file size", f"{base_size / 1e6:.2f} MB", f"{adapter_size / 1e6:.2f} MB")
    print(f"\n  base model   {base}\n  LoRA adapter {adapter}")

    before, after = reports[0]["eval_loss"], reports[-1]["eval_loss"]
    if not (math.isfinite(after) and stories[-1]["eval_loss"] < stories[0]["eval_loss"] and before >= arguments.least_fall * after):
        print(f"error: expected the held-out loss of the reports to fall by a factor of {arguments.least_fall:g} at least: "
              f"{before:.3f} before, {after:.3f} after", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
