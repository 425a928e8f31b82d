"""Trains each method on the same rows and compares what it costs, what it gains and what it forgets. Run by scripts/compare_methods.sh.

Exit code: 0 done, 1 a run failed, 2 usage.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from methods import METHODS
from plots import plot

ROOT = Path(__file__).resolve().parents[2]
HEADER = [
    "method", "learning rate", "trained parameters", "share", "file (MB)", "peak memory (MB)", "tokens/s", "loss before", "loss after",
    "forgetting", "time to swap (s)",
]  # fmt: skip


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], prog="scripts/compare_methods.sh")
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--train", required=True, type=Path, help="rows to train on")
    parser.add_argument("--test", required=True, type=Path, help="held-out rows")
    parser.add_argument("--format", required=True, help="row format of both, such as messages or classification")
    parser.add_argument("--general", type=Path, help="rows of general text, for forgetting (language models only)")
    parser.add_argument("--methods", help="names with commas between them (default: all): " + ", ".join(METHODS))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=2, help="runs at the better learning rate")
    parser.add_argument("--speed-steps", type=int, default=8, help="steps of the run that measures speed")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--output", type=Path, default=ROOT / "runs/methods")
    parser.add_argument("--bin", type=Path, default=ROOT / "build/release/bin")
    options = parser.parse_args()
    options.names = options.methods.split(",") if options.methods else list(METHODS)
    unknown = [name for name in options.names if name not in METHODS]
    if unknown:
        parser.error(f"--methods: found {', '.join(unknown)}, expected some of {', '.join(METHODS)}")
    return options


def say(text: str) -> None:
    print(f"==> {text}", file=sys.stderr, flush=True)


class NotApplicable(RuntimeError):
    """The method cannot be used with this model or these rows."""


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 2:
        raise NotApplicable(done.stderr.strip().splitlines()[-1])
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} exited with code {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def is_classification(options: argparse.Namespace) -> bool:
    return options.format == "classification"


def config_of(options: argparse.Namespace, method: str, rate: float, seed: int, folder: Path) -> dict:
    rows = {"format": options.format}
    return {
        "model": {"path": str(options.model.resolve()), "dtype": options.dtype, "device": "cpu"} | METHODS[method].model,
        "adapter": METHODS[method].adapter,
        "data": {
            "train": [rows | {"path": str(options.train.resolve())}],
            "eval": [rows | {"path": str(options.test.resolve())}],
            "max_length": options.max_length,
            "overlength": "truncate",
        },
        "training": {
            "objective": "sequence_classification" if is_classification(options) else "causal_lm",
            "max_steps": options.steps,
            "per_device_train_batch_size": options.batch_size,
            "learning_rate": rate,
            "lr_scheduler_type": "cosine",
            "warmup_ratio": 0.1,
            "logging_steps": 5,
            "eval_on_start": True,
            "save_strategy": "no",
            "save_steps": 0,
            "seed": seed,
        }
        | METHODS[method].training,
        "output_dir": str(folder.resolve()),
    }


def evaluation_flags(options: argparse.Namespace, method: str, folder: Path) -> list[str]:
    base = folder if METHODS[method].adapter is None else options.model
    adapter = [] if METHODS[method].adapter is None else ["--adapter", str(folder)]
    quantization = ["--quantize", METHODS[method].model["quantization"]["type"]] if METHODS[method].model else []
    return ["--model", str(base), *adapter, *quantization, "--dtype", options.dtype, "--device", "cpu", "--quiet"]


def loss_on(options: argparse.Namespace, model: list[str], rows: Path, row_format: str) -> float:
    command = [str(options.bin / "lora-eval"), *model, "--data", str(rows), "--format", row_format, "--json"]
    return json.loads(run(command))["loss"]


def swap_seconds(options: argparse.Namespace, method: str, folder: Path) -> float | None:
    """Seconds that one token takes longer with the adapter than without: what it takes to load. None for a whole model."""
    if METHODS[method].adapter is None or is_classification(options):
        return None
    ask = [str(options.bin / "lora-generate"), "--prompt", "The", "--max-new-tokens", "1"]

    def seconds(model: list[str]) -> float:
        times = []
        for _ in range(3):
            start = time.monotonic()
            run(ask + model)
            times.append(time.monotonic() - start)
        return min(times)

    plain = ["--model", str(options.model), "--dtype", options.dtype, "--device", "cpu", "--quiet"]
    return max(0.0, seconds(evaluation_flags(options, method, folder)) - seconds(plain))


def weights_file(folder: Path) -> Path:
    return next(path for path in (folder / name for name in ("adapter_model.safetensors", "adapter.safetensors", "model.safetensors")) if path.exists())


def remembered(path: Path, compute: Callable[[], float | None]) -> float | None:
    """A figure that is computed only if the file of an earlier call does not have it."""
    if not path.exists():
        path.write_text(json.dumps(compute()), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def metrics_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def run_config(options: argparse.Namespace, config: dict) -> Path:
    """The folder of a run, which is trained only if it has not finished before."""
    folder = Path(config["output_dir"])
    folder.parent.mkdir(parents=True, exist_ok=True)
    file = folder.with_name(folder.name + ".json")
    file.write_text(json.dumps(config, indent=2), encoding="utf-8")
    run([str(options.bin / "lora-train"), "--config", str(file), "--quiet"])
    return folder


def folder_of(options: argparse.Namespace, method: str) -> Path:
    return options.output / re.sub(r"[^A-Za-z0-9=]+", "-", method).strip("-")


def train(options: argparse.Namespace, method: str, rate: float, seed: int) -> dict:
    """The figures of one run."""
    folder = run_config(options, config_of(options, method, rate, seed, folder_of(options, method) / f"{rate:g}-{seed}"))
    rows = metrics_of(folder)
    evaluations = [row for row in rows if "eval_loss" in row]
    result = json.loads((folder / "run.json").read_text(encoding="utf-8"))["result"]
    return {
        "folder": folder,
        "rate": rate,
        "trained": result["trainable_parameters"],
        "total": result["total_parameters"],
        "file": weights_file(folder).stat().st_size,
        "peak": max(row["peak_memory_bytes"] for row in rows if "loss" in row),
        "before": evaluations[0],
        "after": evaluations[-1],
    }


def measure(options: argparse.Namespace, method: str) -> dict:
    tried = [train(options, method, rate, 1) for rate in METHODS[method].rates]
    best = min(tried, key=lambda figures: figures["after"]["eval_loss"])
    runs = [best] + [train(options, method, best["rate"], seed) for seed in range(2, options.seeds + 1)]
    if options.general:
        for figures in runs:
            flags = evaluation_flags(options, method, figures["folder"])
            figures["general"] = remembered(
                figures["folder"].with_name(figures["folder"].name + "-general.json"),
                lambda flags=flags: loss_on(options, flags, options.general, "text"),
            )
    say(f"{method}: loss {best['before']['eval_loss']:.4f} -> {best['after']['eval_loss']:.4f} at {best['rate']:g}")
    return best | {"runs": runs}


def tokens_per_second(options: argparse.Namespace, method: str, rate: float) -> float:
    """Of a short run, without its first step."""
    config = config_of(options, method, rate, 1, folder_of(options, method) / "speed")
    del config["data"]["eval"]
    config["training"] |= {"max_steps": options.speed_steps, "logging_steps": 1, "eval_on_start": False}
    steps = [row for row in metrics_of(run_config(options, config)) if "loss" in row][1:]
    return sum(row["num_input_tokens"] for row in steps) / sum(row["num_input_tokens"] / row["tokens_per_second"] for row in steps)


def measure_speed(options: argparse.Namespace, results: dict[str, dict]) -> None:
    """Last, one method after the other, so that the machine is the same for all of them."""
    for method, figures in results.items():
        say(f"{method}: speed")
        figures["tokens"] = tokens_per_second(options, method, figures["rate"])
        figures["swap"] = remembered(folder_of(options, method) / "swap.json", lambda: swap_seconds(options, method, figures["folder"]))


def measure_all(options: argparse.Namespace) -> dict[str, dict]:
    results = {}
    for method in options.names:
        try:
            results[method] = measure(options, method)
        except NotApplicable as reason:
            say(f"{method} is left out: {reason}")
    return results


def spread(values: list[float], digits: int = 4) -> str:
    mean = statistics.fmean(values)
    return f"{mean:.{digits}f}" + (f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else "")


def row_of(options: argparse.Namespace, method: str, figures: dict, general_before: float | None) -> list[str]:
    general = [run_["general"] - general_before for run_ in figures["runs"]] if general_before is not None else []
    accuracy = [run_["after"]["eval_accuracy"] for run_ in figures["runs"]] if is_classification(options) else []
    return [
        method,
        f"{figures['rate']:g}",
        f"{figures['trained']:,}",
        f"{100 * figures['trained'] / figures['total']:.3f} %",
        f"{figures['file'] / 1e6:.2f}",
        f"{figures['peak'] / 1e6:.0f}",
        f"{figures['tokens']:.0f}",
        f"{figures['before']['eval_loss']:.4f}",
        spread([run_["after"]["eval_loss"] for run_ in figures["runs"]]) + (f" (accuracy {spread(accuracy, 3)})" if accuracy else ""),
        spread(general) if general else "",
        f"{figures['swap']:.2f}" if figures["swap"] is not None else "",
    ]


def draw(options: argparse.Namespace, results: dict[str, dict]) -> None:
    methods = {name: figures for name, figures in results.items() if not name.startswith("LoRA r=")}
    ranks = {name: figures for name, figures in results.items() if name.startswith("LoRA r=")}
    if methods:
        points = [(name, figures["trained"], figures["after"]["eval_loss"]) for name, figures in methods.items()]
        plot(options.output / "loss-by-parameters.svg", points, "trained parameters", "loss on held-out rows")
    if len(ranks) > 1:
        points = [(name, float(name.split("=")[1]), figures["after"]["eval_loss"]) for name, figures in ranks.items()]
        plot(options.output / "loss-by-rank.svg", points, "rank", "loss on held-out rows", joined=True)


def main() -> int:
    options = parse()
    options.output.mkdir(parents=True, exist_ok=True)
    plain = ["--model", str(options.model), "--dtype", options.dtype, "--device", "cpu", "--quiet"]
    general_before = loss_on(options, plain, options.general, "text") if options.general else None
    results = measure_all(options)
    measure_speed(options, results)
    lines = ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    lines += ["| " + " | ".join(row_of(options, method, figures, general_before)) + " |" for method, figures in results.items()]
    table = "\n".join(lines) + "\n"
    (options.output / "table.md").write_text(table, encoding="utf-8")
    draw(options, results)
    print(table, end="")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
