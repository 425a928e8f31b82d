"""Compares speed and memory of LoRA training on a UNet of Stable Diffusion 1.5's size with diffusers + PEFT. See --help.

Exit code: 0 done, 1 a run failed or the two sides disagree, 2 usage.
"""

import argparse
import json
import os
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

from frame import exit_code_of, keep_table
from measure import check_agreement, rate, say
from processes import TrainingRun, run_for_output, run_training
from report import cpu_info
from sides import HERE

LAYOUTS = ("contiguous", "channels_last")
ROWS = 8
HEADER = [
    "", "images/s", "diffusers", "ratio", "of torch's rate", "memory (GB)", "diffusers", "ratio", "estimate / peak", "loss ±", "grad_norm ±",
]  # fmt: skip
EXPLANATION = (
    "LoRA of rank 16 on the attention projections of Stable Diffusion 1.5's UNet (860 M random parameters), cached latents and text states, "
    "no recomputation, compared with diffusers {diffusers} + PEFT {peft} in whichever memory layout was faster in a short run; {cpu}, "
    "{threads} threads. The sides take turns: the medians of {rounds} rounds of {steps} steps, without the first step. Memory is the peak of the "
    "resident set minus the weights' file; for diffusers the peak after loading. Torch's rate is that of its convolutions and products at "
    "the step's shapes, forward and for the gradient of the input, measured in the same run; the step's products of attention count with "
    "them. Written by `scripts/bench/diffusion.sh`."
)


@dataclass(frozen=True)
class Case:
    dtype: str
    size: int
    batch_size: int

    def __str__(self) -> str:
        return f"{self.dtype}-{self.size}-b{self.batch_size}"

    @staticmethod
    def named(name: str) -> "Case":
        dtype, size, batch = name.split("-")
        if dtype not in ("float32", "bfloat16") or not batch.startswith("b"):
            raise argparse.ArgumentTypeError(f"found {name}, expected a name like float32-256-b4")
        return Case(dtype, int(size), int(batch.removeprefix("b")))


DEFAULT_CASES = "float32-256-b1,float32-512-b1,float32-256-b4,bfloat16-256-b1,bfloat16-512-b1,bfloat16-256-b4"


def peer_command(options: argparse.Namespace, case: Case, command: str, more: list[str]) -> list[str]:
    own = ["--dtype", case.dtype, "--size", str(case.size), "--batch-size", str(case.batch_size), "--work", str(options.work)]
    return [options.peer_python, str(HERE / "diffusion_peer.py"), command, *own, *more]


def environment(options: argparse.Namespace) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(options.threads), "MKL_NUM_THREADS": str(options.threads)}


def run_peer(options: argparse.Namespace, case: Case, layout: str, steps: int) -> tuple[TrainingRun, dict]:
    output = options.work / "runs" / f"{case}-peer"
    command = peer_command(options, case, "train", ["--layout", layout, "--steps", str(steps), "--output", str(output)])
    run = run_training(command, output, environment(options), options.memory_limit)
    return run, json.loads((output / "peer.json").read_text(encoding="utf-8"))


def run_ours(options: argparse.Namespace, case: Case) -> tuple[TrainingRun, dict]:
    work, output = options.work.resolve(), options.work / "runs" / f"{case}-ours"
    config = {
        "model": {"path": str(work / f"model-{case.dtype}"), "dtype": case.dtype, "device": "cpu"},
        "adapter": {"init_from": str(work / "adapter")},
        "data": {"train": [{"path": str(work / f"rows-{case.size}/rows.jsonl"), "format": "diffusion_tensors"}], "shuffle": False},
        "training": {
            "objective": "denoising", "max_steps": options.steps, "per_device_train_batch_size": case.batch_size, "learning_rate": 1e-4,
            "lr_scheduler_type": "constant", "warmup_steps": 0, "weight_decay": 0.0, "max_grad_norm": 1.0, "logging_steps": 1,
            "gradient_checkpointing": "off",
        },
        "output_dir": str(output.resolve()),
    }  # fmt: skip
    file = output.with_suffix(".json")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(config, indent=2), encoding="utf-8")
    run = run_training([str(options.bin / "lora-train"), "--config", str(file)], output, environment(options), options.memory_limit)
    return run, json.loads((output / "run.json").read_text(encoding="utf-8"))


def fastest_layout(options: argparse.Namespace, case: Case) -> str:
    rates = {layout: rate(run_peer(options, case, layout, 2)[0]) for layout in LAYOUTS}
    say(f"{case}: diffusers " + ", ".join(f"{layout} {found:.3f} images/s" for layout, found in rates.items()))
    return max(rates, key=rates.get)


def measure(options: argparse.Namespace, case: Case) -> tuple[list[str], dict]:
    """A row of the table, and the peer's facts."""
    run_for_output(peer_command(options, case, "prepare", ["--rows", str(ROWS)]), {})
    layout = fastest_layout(options, case)
    weights = (options.work / f"model-{case.dtype}/unet/diffusion_pytorch_model.safetensors").stat().st_size
    rates, shares, ours, peers, differences = [], [], [], [], {}
    for number in range(options.rounds):
        peer, peer_facts = run_peer(options, case, layout, options.steps)
        own, own_facts = run_ours(options, case)
        torch = json.loads(run_for_output(peer_command(options, case, "rate", ["--layout", layout]), environment(options)))
        rates.append((rate(own), rate(peer)))
        shares.append(torch["step_flops"] * rate(own) / case.batch_size / torch["flops_per_second"])
        ours.append(own.peak_rss - weights)
        peers.append(peer_facts["peak"] - weights)
        differences = check_agreement(own.rows, peer.rows, case.dtype)
        say(f"{case}, round {number + 1}: {rates[-1][0]:.4f} and {rates[-1][1]:.4f} images/s, {100 * shares[-1]:.0f} % of "
            f"{torch['flops_per_second'] / 1e9:.0f} GFLOP/s, {ours[-1] / 1e9:.2f} and {peers[-1] / 1e9:.2f} GB")  # fmt: skip
    estimate = own_facts["memory"]["estimated_bytes"] / own.peak_rss
    return cells(case, rates, shares, (ours, peers), estimate, differences), peer_facts


def cells(case: Case, rates: list, shares: list, memory: tuple[list, list], estimate: float, differences: dict[str, float]) -> list[str]:
    middle = statistics.median
    return [
        f"{case.dtype}, {case.size}², batch {case.batch_size}",
        f"{middle(own for own, _ in rates):.3f}",
        f"{middle(peer for _, peer in rates):.3f}",
        f"**{middle(own / peer for own, peer in rates):.2f}**",
        f"{100 * middle(shares):.0f} %",
        f"{middle(memory[0]) / 1e9:.2f}",
        f"{middle(memory[1]) / 1e9:.2f}",
        f"**{middle(own / peer for own, peer in zip(*memory, strict=True)):.2f}**",
        f"{estimate:.2f}",
        f"{differences['loss']:.0e}",
        f"{differences['grad_norm']:.0e}",
    ]


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="diffusion.sh", description="Compares UNet training with diffusers + PEFT in SD1.5's shapes.")
    parser.add_argument("--peer-python", required=True, help="a Python with torch, diffusers, peft and safetensors")
    parser.add_argument("--cases", default=DEFAULT_CASES, help="dtype-size-bBATCH, separated by commas (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--bin", type=Path, default=Path(os.environ.get("LORA_BIN", "build/release/bin")))
    parser.add_argument("--work", type=Path, default=Path("build/bench/diffusion"))
    parser.add_argument("--memory-limit", type=int, default=20_000_000_000, help="bytes of private memory of a process")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks.md"))
    options = parser.parse_args()
    try:
        options.cases = [Case.named(name) for name in options.cases.split(",")]
    except (argparse.ArgumentTypeError, ValueError) as error:
        parser.error(f"--cases: {error}")
    if options.steps < 2:
        parser.error("--steps: the first step is not measured; give at least 2")
    return options


def main() -> int:
    options = read_options()
    rows, facts = [], {}
    for case in options.cases:
        row, facts = measure(options, case)
        rows.append(row)
    cpu, _ = cpu_info(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    known = facts["versions"] | {"cpu": cpu, "threads": facts["threads"], "rounds": options.rounds, "steps": options.steps}
    keep_table(options.output, "diffusion", EXPLANATION.format(**known), HEADER, rows)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
