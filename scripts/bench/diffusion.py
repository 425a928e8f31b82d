"""Compares speed and memory of LoRA training on a UNet of Stable Diffusion 1.5's size with diffusers + PEFT. See --help.

Exit code: 0 done, 1 a run failed or the two sides disagree, 2 usage.
"""

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from frame import exit_code_of, keep_table
from measure import check_agreement, rate, say
from processes import run_for_output
from report import cpu_info
from sides import HERE
from turns import Side, run_in_turns

ROWS = 8
HEADER = [
    "", "images/s", "diffusers", "ratio", "of torch's rate", "memory (GB)", "diffusers", "ratio", "estimate / peak", "loss ±", "grad_norm ±",
]  # fmt: skip
EXPLANATION = (
    "LoRA of rank 16 on the attention projections of Stable Diffusion 1.5's UNet (860 M random parameters), cached latents and text states, "
    "no recomputation, compared with diffusers {diffusers} + PEFT {peft} in whichever memory layout was faster in a short run at 256²; "
    "{cpu}, {threads} threads. The sides take turns after each of {steps} steps; the first step is not counted. Memory is the peak of the "
    "resident set minus the weights' file, for diffusers after loading. Torch's rate is that of its convolutions and products at "
    "the step's shapes, forward and for the gradient of the input, measured after the run; the step's products of attention count with "
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


def output_of(options: argparse.Namespace, case: Case, side: str) -> Path:
    return (options.work / "runs" / f"{case}-{side}").resolve()


def peer_side(options: argparse.Namespace, case: Case, layout: str) -> Side:
    output = output_of(options, case, "peer")
    command = peer_command(options, case, "train", ["--layout", layout, "--steps", str(options.steps), "--output", str(output)])
    return Side(command, output, environment(options), options.memory_limit)


def our_side(options: argparse.Namespace, case: Case) -> Side:
    work, output = options.work.resolve(), output_of(options, case, "ours")
    config = {
        "model": {"path": str(work / f"model-{case.dtype}"), "dtype": case.dtype, "device": "cpu"},
        "adapter": {"init_from": str(work / "adapter")},
        "data": {"train": [{"path": str(work / f"rows-{case.size}/rows.jsonl"), "format": "diffusion_tensors"}], "shuffle": False},
        "training": {
            "objective": "denoising", "max_steps": options.steps, "per_device_train_batch_size": case.batch_size, "learning_rate": 1e-4,
            "lr_scheduler_type": "constant", "warmup_steps": 0, "weight_decay": 0.0, "max_grad_norm": 1.0, "logging_steps": 1,
            "gradient_checkpointing": "off",
        },
        "output_dir": str(output),
    }  # fmt: skip
    file = output.with_suffix(".json")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(config, indent=2), encoding="utf-8")
    return Side([str(options.bin / "lora-train"), "--config", str(file)], output, environment(options), options.memory_limit)


def fastest_layout(options: argparse.Namespace, dtype: str) -> str:
    """The peer's memory layout, found once for each dtype by single steps at 256²."""
    case = Case(dtype, 256, 1)
    run_for_output(peer_command(options, case, "prepare", ["--rows", str(ROWS)]), {})
    seconds = json.loads(run_for_output(peer_command(options, case, "layouts", []), environment(options)))
    say(f"{dtype}: a step of diffusers takes " + ", ".join(f"{found:.2f} s {layout}" for layout, found in seconds.items()))
    return min(seconds, key=seconds.get)


def measure(options: argparse.Namespace, case: Case, layout: str) -> tuple[list[str], dict]:
    """A row of the table, and the peer's facts."""
    run_for_output(peer_command(options, case, "prepare", ["--rows", str(ROWS)]), {})
    weights = (options.work / f"model-{case.dtype}/unet/diffusion_pytorch_model.safetensors").stat().st_size
    own, peer = run_in_turns(our_side(options, case), peer_side(options, case, layout), options.steps)
    facts = json.loads((output_of(options, case, "peer") / "peer.json").read_text(encoding="utf-8"))
    estimate = json.loads((output_of(options, case, "ours") / "run.json").read_text(encoding="utf-8"))["memory"]["estimated_bytes"]
    torch = json.loads(run_for_output(peer_command(options, case, "rate", ["--layout", layout]), environment(options)))
    share = torch["step_flops"] * rate(own) / case.batch_size / torch["flops_per_second"]
    memory = (own.peak_rss - weights, facts["peak"] - weights)
    differences = check_agreement(own.rows, peer.rows, case.dtype)
    row = [
        f"{case.dtype}, {case.size}², batch {case.batch_size}",
        f"{rate(own):.3f}",
        f"{rate(peer):.3f}",
        f"**{rate(own) / rate(peer):.2f}**",
        f"{100 * share:.0f} %",
        f"{memory[0] / 1e9:.2f}",
        f"{memory[1] / 1e9:.2f}",
        f"**{memory[0] / memory[1]:.2f}**",
        f"{estimate / own.peak_rss:.2f}",
        f"{differences['loss']:.0e}",
        f"{differences['grad_norm']:.0e}",
    ]
    say(" | ".join(row) + f" | torch {torch['flops_per_second'] / 1e9:.0f} GFLOP/s")
    return row, facts


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="diffusion.sh", description="Compares UNet training with diffusers + PEFT in SD1.5's shapes.")
    parser.add_argument("--peer-python", required=True, help="a Python with torch, diffusers, peft and safetensors")
    parser.add_argument("--cases", default=DEFAULT_CASES, help="dtype-size-bBATCH, separated by commas (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=4)
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
    layouts = {dtype: fastest_layout(options, dtype) for dtype in dict.fromkeys(case.dtype for case in options.cases)}
    for case in options.cases:
        row, facts = measure(options, case, layouts[case.dtype])
        rows.append(row)
    cpu, _ = cpu_info(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    known = facts["versions"] | {"cpu": cpu, "threads": facts["threads"], "steps": options.steps}
    keep_table(options.output, "diffusion", EXPLANATION.format(**known), HEADER, rows)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
