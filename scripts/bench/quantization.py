"""Trains LoRA on a real model whose base is quantised in each way, and measures quality, memory and speed. See --help.

Exit code: 0 done, 1 a run failed, 2 usage.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from frame import exit_code_of, keep_table, names_of
from measure import rate, say
from processes import TrainingRun, run_for_output, run_training
from sides import QUANTIZATIONS

LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
# Kind: model.quantization, its name as a flag, and how the adapter starts.
KINDS = {name: (options, name, True) for name, options in QUANTIZATIONS.items() if options}
KINDS = {"bfloat16": (None, None, True)} | KINDS | {"loftq": (QUANTIZATIONS["nf4"], "nf4", "loftq"), "pissa": (QUANTIZATIONS["nf4"], "nf4", "pissa")}
HEADER = [
    "base", "bits a parameter", "perplexity before", "after", "weights (MB)", "peak memory (MB)", "estimate / peak", "tokens/s", "ratio to bfloat16",
]  # fmt: skip
EXPLANATION = (
    "{model}, {steps} steps of {batch} rows of {train}, LoRA of rank 16 on all linear modules, bfloat16 computation; perplexity of {test} "
    "without and with the adapter. \"loftq\" and \"pissa\" are NF4 bases with those starts. Written by `scripts/bench/quantization.sh`."
)


def evaluate(options: argparse.Namespace, flag: str | None, adapter: Path | None) -> float:
    command = [str(options.bin / "lora-eval"), "--model", str(options.model), "--data", str(options.test), "--format", options.format]
    command += ["--dtype", "bfloat16", "--device", "cpu", "--json", "--quiet"]
    command += ["--quantize", flag] if flag else []
    command += ["--adapter", str(adapter)] if adapter else []
    return json.loads(run_for_output(command, {}))["perplexity"]


def run_config(options: argparse.Namespace, kind: str, output: Path) -> dict:
    quantization, _, start = KINDS[kind]
    return {
        "model": {"path": str(options.model.resolve()), "dtype": "bfloat16", "device": "cpu", "quantization": quantization},
        "adapter": LORA | {"init_lora_weights": start},
        "data": {"train": [{"path": str(options.train.resolve()), "format": options.format}], "max_length": 512},
        "training": {
            "max_steps": options.steps,
            "per_device_train_batch_size": options.batch_size,
            "learning_rate": 2e-4,
            "logging_steps": 1,
            "seed": 7,
        },
        "output_dir": str(output.resolve()),
    }


def train(options: argparse.Namespace, kind: str) -> tuple[TrainingRun, Path]:
    output = options.work / kind
    config = output.with_suffix(".json")
    config.write_text(json.dumps(run_config(options, kind, output), indent=2), encoding="utf-8")
    command = [str(options.bin / "lora-train"), "--config", str(config)]
    return run_training(command, output, {}, options.memory_limit), output


def measure(options: argparse.Namespace, kind: str) -> dict:
    flag = KINDS[kind][1]
    before = evaluate(options, flag, None)
    run, output = train(options, kind)
    facts = json.loads((output / "run.json").read_text(encoding="utf-8"))
    result = {
        "before": before,
        "after": evaluate(options, flag, output),
        "rate": rate(run),
        "peak": run.peak_rss,
        "estimate": facts["memory"]["estimated_bytes"],
        "weights": facts["model"]["weight_bytes"],
        "bits": facts["model"].get("packed_bits_per_parameter", 16.0),
    }
    say(f"{kind}: " + ", ".join(f"{key} {value:.4g}" for key, value in result.items()))
    return result


def cells(kind: str, result: dict, plain: dict | None) -> list[str]:
    ratio = "–" if plain is None else f"{result['rate'] / plain['rate']:.2f}"
    return [
        kind,
        f"{result['bits']:.3f}",
        f"{result['before']:.3f}",
        f"{result['after']:.3f}",
        f"{result['weights'] / 1e6:.0f}",
        f"{result['peak'] / 1e6:.0f}",
        f"{result['estimate'] / result['peak']:.2f}",
        f"{result['rate']:.0f}",
        ratio,
    ]


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="quantization.sh", description="Compares quantised bases on a real model.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--format", default="instruction")
    parser.add_argument("--kinds", type=names_of(KINDS), default=list(KINDS), help=", ".join(KINDS))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--bin", type=Path, default=Path(os.environ.get("LORA_BIN", "build/release/bin")))
    parser.add_argument("--work", type=Path, default=Path("build/bench/quantization"))
    parser.add_argument("--memory-limit", type=int, default=20_000_000_000, help="bytes a process may have (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("docs/quantization.md"))
    return parser.parse_args()


def main() -> int:
    options = read_options()
    options.work.mkdir(parents=True, exist_ok=True)
    results = {kind: measure(options, kind) for kind in options.kinds}
    rows = [cells(kind, result, results.get("bfloat16")) for kind, result in results.items()]
    facts = {"model": options.model.name, "steps": options.steps, "batch": options.batch_size, "train": options.train.name, "test": options.test.name}
    keep_table(options.output, f"measured-{options.model.name}", EXPLANATION.format(**facts), HEADER, rows)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
