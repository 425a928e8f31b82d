#!/usr/bin/env python3
"""Prints the loss on held-out drawings before and after LoRA. Exit code 1 if it did not fall by half.

    image_losses.py METRICS.jsonl
"""
import json
import pathlib
import sys


def main():
    path = pathlib.Path(sys.argv[1])
    losses = [row["eval_loss"] for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()) if "eval_loss" in row]
    print(f"\n  loss on held-out drawings in the new style: {losses[0]:.3f} before, {losses[-1]:.3f} after")
    if not losses[-1] <= losses[0] / 2:
        print(f"error: expected the loss to fall by half: found {losses[0]:.3f} before, {losses[-1]:.3f} after", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
