"""Trains LoRA on a large random model with a quantised base and reports speed and memory. See --help.

Exit code: 0 done, 1 a run failed or took more memory than allowed, 2 usage.
"""

import argparse
import json
import random
import sys
from pathlib import Path

from frame import add_common_options, exit_code_of, whole_machine
from measure import rate, say
from processes import run_for_output, run_training
from shapes import SHAPES
from sides import QUANTIZATIONS, Bench, fingerprint

LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}


def large_model(bench: Bench, name: str) -> Path:
    config = SHAPES[name].config()
    folder = bench.work / "models" / f"{name}-random-{fingerprint(config)}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    config_file = folder.with_name(folder.name + ".config.json")  # a name may have a dot
    config_file.write_text(json.dumps(config), encoding="utf-8")
    if not folder.exists():
        say(f"writing {folder.name}")
        command = [bench.peer_python, str(Path(__file__).with_name("large_model.py")), "--config", str(config_file), "--model", str(folder)]
        run_for_output(command, bench.environment())
    return folder


def write_rows(path: Path, vocabulary: int, count: int, length: int) -> None:
    random_ = random.Random(1)
    rows = [{"input_ids": [random_.randrange(vocabulary) for _ in range(length)]} for _ in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def config(options: argparse.Namespace, model: Path, rows: Path, output: Path) -> dict:
    return {
        "model": {"path": str(model.resolve()), "dtype": "bfloat16", "device": "cpu", "quantization": QUANTIZATIONS[options.quantize]},
        "adapter": LORA,
        "data": {"train": [{"path": str(rows.resolve()), "format": "tokens"}], "max_length": options.length, "shuffle": False},
        "training": {
            "max_steps": options.steps,
            "per_device_train_batch_size": 1,
            "gradient_checkpointing": "full",
            "logging_steps": 1,
        },
        "output_dir": str(output.resolve()),
    }


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="large.sh", description="Trains on a large random model with a quantised base.")
    add_common_options(parser)
    parser.add_argument("--model", choices=SHAPES, default="llama-7b")
    parser.add_argument("--quantize", choices=QUANTIZATIONS, default="nf4-dq")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--length", type=int, default=256, help="tokens per step (default: %(default)s)")
    parser.add_argument("--most-memory", type=float, default=6.5, help="largest allowed peak in GB (default: %(default)s)")
    return parser.parse_args()


def main() -> int:
    options = read_options()
    bench = whole_machine(options)
    output = bench.work / "runs" / "large"
    output.parent.mkdir(parents=True, exist_ok=True)
    rows, config_file = output.with_suffix(".jsonl"), output.with_suffix(".json")
    model = large_model(bench, options.model)
    write_rows(rows, SHAPES[options.model].vocabulary, options.steps, options.length)
    config_file.write_text(json.dumps(config(options, model, rows, output), indent=2), encoding="utf-8")
    mapped = sum(file.stat().st_size for file in model.iterdir())  # counts as the process's own memory, but is only read
    limit = bench.memory_limit + mapped
    done = run_training([str(bench.lora_train), "--config", str(config_file)], output, bench.environment(), limit)
    estimate = json.loads((output / "run.json").read_text(encoding="utf-8"))["memory"]["estimated_bytes"]
    peak = done.peak_rss / 1e9
    say(f"{SHAPES[options.model].title}, {options.quantize}, {options.length} tokens a step: {rate(done):.1f} tokens/s, start "
        f"{done.start_up:.0f} s, peak {peak:.2f} GB, estimate {estimate / 1e9:.2f} GB")  # fmt: skip
    return 0 if peak <= options.most_memory else 1


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
