"""Compares the memory that lora-train estimates with its measured peak; prints a table and writes it to docs/benchmarks.md.

python memory.py --peer-python PYTHON      (creates the base models; the measured runs are lora-train's)

Exit code: 0 done, 1 an estimate is too far off or a run failed, 2 usage.
"""

import argparse
import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path

from frame import add_common_options, exit_code_of, keep_table, names_of, whole_machine
from measure import say
from processes import TrainingRun, run_training
from shapes import LORA_ALPHA, LORA_RANK, SHAPES, TARGETS
from sides import Bench, Case, prepare
from workloads import instruction

STEPS = 2
LONG = 200
ROWS = {
    "60": lambda _: 60,
    "512": lambda _: 512,
    "2048": lambda _: 2048,
    "mixed": lambda random_: instruction(random_)[0],
}
EXPLANATION = (
    "The estimate of `--dry-run` (\"memory about …\") and the peak of the resident set of the whole run, checkpoint and result included, in "
    f"MB; {STEPS} steps, LoRA of rank {LORA_RANK} or full fine-tuning with AdamW. Mixed rows have log-normal lengths of median 180. "
    "Written by `scripts/bench/memory.sh`."
)
LONG_EXPLANATION = (
    f"The same over {LONG} steps whose rows have ever new lengths, which would let a cache per shape grow. "
    "Written by `scripts/bench/memory.sh --long`."
)
HEADER = ["", "dtype", "trained", "rows", "checkpointing", "estimate", "measured", "estimate / measured"]


@dataclass(frozen=True)
class Setting:
    model: str
    dtype: str
    trained: str  # qv, all-linear, full
    batch_size: int
    rows: str
    checkpointing: str

    def cells(self) -> list[str]:
        return [SHAPES[self.model].title, self.dtype, self.trained, f"{self.batch_size} x {self.rows}", self.checkpointing]


def settings(models: list[str], is_long: bool) -> list[Setting]:
    """A selection: each kind of memory use with each dtype and model; in long runs only those whose batches differ."""
    ways = [
        ("qv", 4, "mixed", "off"), ("all-linear", 4, "mixed", "off"), ("all-linear", 4, "mixed", "full"),
    ] if is_long else [
        ("qv", 1, "512", "off"), ("qv", 4, "512", "off"), ("qv", 8, "60", "off"), ("qv", 8, "mixed", "off"), ("qv", 1, "2048", "off"),
        ("qv", 4, "512", "selective"), ("qv", 4, "512", "full"), ("all-linear", 4, "512", "off"), ("all-linear", 4, "512", "full"),
        ("full", 1, "512", "off"), ("full", 4, "512", "off"),
    ]  # fmt: skip
    return [Setting(model, dtype, *way) for model in models for dtype in ("float32", "bfloat16") for way in ways]


def write_rows(path: Path, setting: Setting, steps: int) -> None:
    random_ = random.Random(str(setting))
    with path.open("w", encoding="utf-8") as file:
        for _ in range(steps * setting.batch_size):
            ids = [random_.randrange(SHAPES[setting.model].vocabulary) for _ in range(ROWS[setting.rows](random_))]
            file.write(json.dumps({"input_ids": ids}) + "\n")


def config(setting: Setting, steps: int, model: Path, rows: Path, output: Path) -> dict:
    lora = {"r": LORA_RANK, "lora_alpha": LORA_ALPHA, "target_modules": list(TARGETS.get(setting.trained, ()))}
    return {
        "model": {"path": str(model.resolve()), "dtype": setting.dtype, "device": "cpu"},
        "adapter": None if setting.trained == "full" else lora,
        "data": {"train": [{"path": str(rows.resolve()), "format": "tokens"}], "max_length": 4096, "shuffle": False},
        "training": {
            "max_steps": steps,
            "per_device_train_batch_size": setting.batch_size,
            "gradient_checkpointing": setting.checkpointing,
            "logging_steps": 1,
        },
        "output_dir": str(output.resolve()),
    }


def run(bench: Bench, setting: Setting, steps: int, model: Path) -> tuple[int, TrainingRun]:
    """The estimate in bytes, and the measured run."""
    output = bench.work / "runs" / "memory"
    output.parent.mkdir(parents=True, exist_ok=True)
    rows, config_file = output.with_suffix(".jsonl"), output.with_suffix(".json")
    write_rows(rows, setting, steps)
    config_file.write_text(json.dumps(config(setting, steps, model, rows, output), indent=2), encoding="utf-8")
    done = run_training([str(bench.lora_train), "--config", str(config_file)], output, bench.environment(), bench.memory_limit)
    return json.loads((output / "run.json").read_text(encoding="utf-8"))["memory"]["estimated_bytes"], done


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="memory.sh", description="Compares estimated and measured memory of lora-train.")
    add_common_options(parser)
    parser.add_argument("--models", type=names_of(SHAPES), default=["tiny", "smollm2-135m"], help=", ".join(SHAPES))
    parser.add_argument("--only", default="", help="measure only the settings whose table row contains this text")
    parser.add_argument("--long", action="store_true", help=f"use runs of {LONG} steps instead of {STEPS}")
    parser.add_argument("--tolerance", type=float, default=0.1, help="largest allowed relative error of an estimate (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks.md"), help="file whose table is replaced, except with --only")
    return parser.parse_args()


def main() -> int:
    options = read_options()
    bench = whole_machine(options)
    rows, worst = [], 0.0
    for setting in settings(options.models, options.long):
        if options.only not in " ".join(setting.cells()):
            continue
        estimate, done = run(bench, setting, LONG if options.long else STEPS, prepare(bench, Case(setting.model, "qv", "a512", setting.dtype), 1).model)
        ratio = estimate / done.peak_rss
        worst = max(worst, abs(ratio - 1))
        rows.append([*setting.cells(), f"{estimate / 1e6:.0f}", f"{done.peak_rss / 1e6:.0f}", f"{ratio:.2f}"])
        say(" ".join(rows[-1]))
    if not options.only:
        name, explanation = ("memory-long", LONG_EXPLANATION) if options.long else ("memory", EXPLANATION)
        keep_table(options.output, name, explanation, HEADER, rows)
    say(f"largest error of an estimate: {100 * worst:.0f} %")
    return 0 if worst <= options.tolerance else 1


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
