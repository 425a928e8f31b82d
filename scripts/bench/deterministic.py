"""Measures the cost of `training.deterministic`: alternating runs with and without it, and whether they give the same bits.

python deterministic.py --peer-python PYTHON [--device cuda]      (PYTHON creates the base model)

Prints a table and writes it to docs/benchmarks.md. Exit code: 0 done, 1 a run failed or deterministic runs differ, 2 usage.
"""

import argparse
import hashlib
import json
import statistics
import sys
from pathlib import Path

from frame import add_common_options, exit_code_of, keep_table, names_of, whole_machine
from measure import say
from processes import run_training
from shapes import SHAPES
from sides import Bench, Case, Inputs, prepare, run_config

STEPS = 4
EXPLANATION = (
    "Tokens per second with and without `training.deterministic`, in alternating runs on one machine (instruction data, workload b), "
    "without the first step: the median over the rounds. Same bits: whether the adapters of all rounds are equal. "
    "Written by `scripts/bench/deterministic.py`."
)
HEADER = ["", "dtype", "device", "without", "deterministic", "ratio", "same bits without", "same bits"]


def run(bench: Bench, inputs: Inputs, device: str, deterministic: bool) -> tuple[float, str]:
    """Tokens per second, and a hash of the adapter."""
    output = bench.work / "runs" / "deterministic"
    config = run_config(inputs, STEPS, output)
    config["model"]["device"] = device
    config["training"]["deterministic"] = deterministic
    config_file = output.with_suffix(".json")
    config_file.parent.mkdir(parents=True, exist_ok=True)
    config_file.write_text(json.dumps(config), encoding="utf-8")
    done = run_training([str(bench.lora_train), "--config", str(config_file)], output, bench.environment(), bench.memory_limit)
    return done.tokens(2) / done.seconds(2), hashlib.sha256((output / "adapter_model.safetensors").read_bytes()).hexdigest()


def row_of(bench: Bench, case: Case, device: str, rounds: int) -> tuple[list[str], bool]:
    """One row of the table, and whether deterministic runs give the same bits."""
    inputs = prepare(bench, case, STEPS)
    runs = {way: [] for way in (False, True)}
    for _ in range(rounds):
        for way, done in runs.items():
            done.append(run(bench, inputs, device, way))
    speed = {way: statistics.median(speed for speed, _ in done) for way, done in runs.items()}
    same = {way: len({bits for _, bits in done}) == 1 for way, done in runs.items()}
    cells = [SHAPES[case.model].title, case.dtype, device, f"{speed[False]:.0f}", f"{speed[True]:.0f}", f"{speed[True] / speed[False]:.2f}"]
    return [*cells, *("yes" if same[way] else "no" for way in (False, True))], same[True]


def main() -> int:
    parser = argparse.ArgumentParser(prog="deterministic.py", description="Measures the cost of training.deterministic.")
    add_common_options(parser)
    parser.add_argument("--models", type=names_of(SHAPES), default=["smollm2-135m"], help=", ".join(SHAPES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks.md"))
    options = parser.parse_args()
    bench = whole_machine(options)
    rows, all_same = [], True
    for model in options.models:
        for dtype in ("float32", "bfloat16"):
            cells, same = row_of(bench, Case(model, "qv", "b", dtype), options.device, options.rounds)
            rows.append(cells)
            all_same = all_same and same
            say(" ".join(cells))
    keep_table(options.output, "deterministic", EXPLANATION, HEADER, rows)
    return 0 if all_same else 1


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
