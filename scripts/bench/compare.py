"""Compares lora-train with transformers + PEFT, in runs that alternate, and writes docs/benchmarks.md. See --help.

It needs only the standard library; the peer's Python has torch, transformers and peft (scripts/golden/requirements.txt).
Exit code: 0 done, 1 the two sides disagree or a run failed, 2 usage.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from itertools import product
from pathlib import Path

from frame import add_common_options, available_memory, exit_code_of, names_of
from measure import TOLERANCES, measure, say
from report import machine_line, render
from shapes import SHAPES, TARGETS
from sides import QUANTIZATIONS, VARIANTS, Bench, Case, prepare, run_ours, run_peer
from workloads import WORKLOADS

QUICK = {
    "models": ["tiny"], "targets": ["qv"], "workloads": ["b"], "dtype": ["float32"], "steps": 3, "rounds": 1,
    "variants": ["padded-sdpa", "single-eager"], "shrink": 4,
}  # fmt: skip


def read_options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.sh", description="Compares lora-train with transformers + PEFT.")
    add_common_options(parser)
    parser.add_argument("--models", type=names_of(SHAPES), default=["smollm2-135m"], help=", ".join(SHAPES))
    parser.add_argument("--targets", type=names_of(TARGETS), default=list(TARGETS), help=", ".join(TARGETS))
    parser.add_argument("--workloads", type=names_of(WORKLOADS), default=list(WORKLOADS), help=", ".join(WORKLOADS))
    parser.add_argument("--dtype", type=names_of(TOLERANCES), default=["float32"], help=", ".join(TOLERANCES))
    parser.add_argument("--quantize", type=names_of(QUANTIZATIONS), default=["none"], help=", ".join(QUANTIZATIONS))
    parser.add_argument("--variants", type=names_of(VARIANTS), default=list(VARIANTS), help="variants of the peer: " + ", ".join(VARIANTS))
    parser.add_argument("--steps", type=int, default=4, help="steps per run; the first is a warm-up (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads of each side (default: %(default)s)")
    parser.add_argument("--memory-limit", type=float, default=0.9 * available_memory() / 1e9, help="GB per process (%(default).1f)")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks.md"))
    parser.add_argument("--json", type=Path, help="results file (default: WORK/results.json)")
    parser.add_argument("--keep", action="store_true", help="keep the cases of the results file that this run does not measure")
    parser.add_argument("--quick", action="store_true", help="measure a tiny model, as a test; writes to WORK unless --output is given")
    parser.set_defaults(shrink=1)
    options = parser.parse_args(arguments)
    if options.quick:
        vars(options).update(QUICK)
        if "--output" not in arguments:
            options.output = options.work / "benchmarks.md"
    if options.steps < 2 or options.rounds < 1:
        parser.error("--steps must be at least 2, as the first one is a warm-up, and --rounds at least 1")
    options.json = options.json or options.work / "results.json"
    options.load = os.getloadavg()[0]
    return options


def revision() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def shown_command(arguments: list[str]) -> str:
    """The command line without the paths of this machine."""
    kept, skip = [], False
    for argument in arguments:
        is_path = argument.split("=")[0] in ("--peer-python", "--lora-train", "--work", "--output", "--json")
        if not (is_path or skip):
            kept.append(argument)
        skip = is_path and "=" not in argument
    return " ".join(["scripts/bench/run.sh", *kept])


def measure_start_up(bench: Bench, rounds: int) -> dict[str, float]:
    """Median seconds to the first step of a tiny model; runs of both sides alternate."""
    inputs = prepare(bench, Case("tiny", "qv", "b", "float32"), 2)
    ours, peer = [], []
    for _ in range(rounds):
        ours.append(run_ours(bench, inputs, 2).start_up)
        peer.append(run_peer(bench, inputs, VARIANTS["padded-sdpa"], 2)[0].start_up)
    result = {"ours": statistics.median(ours), "peer": statistics.median(peer)}
    say(f"start to first step, tiny model: ours {result['ours']:.2f} s, PEFT {result['peer']:.2f} s")
    return result


def earlier_cases(options: argparse.Namespace, measured: list[dict]) -> list[dict]:
    if not (options.keep and options.json.exists()):
        return []
    earlier = json.loads(options.json.read_text(encoding="utf-8"))["cases"]
    now = [result["case"] for result in measured]
    for result in earlier:
        result["case"].setdefault("quantization", "none")  # written before bases could be quantised
    return [result for result in earlier if result["case"] not in now]


def write_results(options: argparse.Namespace, arguments: list[str], start_up: dict, measured: list[dict]) -> None:
    order = {"model": SHAPES, "targets": TARGETS, "workload": WORKLOADS, "dtype": TOLERANCES, "quantization": QUANTIZATIONS}
    cases = earlier_cases(options, measured) + measured
    cases.sort(key=lambda result: [list(names).index(result["case"][key]) for key, names in order.items()])
    results = {
        "machine": f"{machine_line(options.threads)}; load average {options.load:.1f} before the first run",
        "versions": {"lora-train": revision()} | measured[-1]["peer"]["versions"],
        "command": shown_command(arguments),
        "tolerances": TOLERANCES,
        "start_up": start_up,
        "cases": cases,
    }
    options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    old = options.output.read_text(encoding="utf-8") if options.output.exists() else ""
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(render(results, old), encoding="utf-8")
    say(f"written: {options.output}, {options.json}")


def main(arguments: list[str]) -> int:
    options = read_options(arguments)
    bench = Bench(options.peer_python, options.lora_train, options.work, options.threads, int(options.memory_limit * 1e9), options.shrink)
    options.work.mkdir(parents=True, exist_ok=True)
    if options.load > options.threads / 2:
        say(f"warning: this machine is busy (load average {options.load:.1f} on {options.threads} threads): the ratios are provisional")
    variants = [VARIANTS[name] for name in options.variants]
    measured = []
    start_up = measure_start_up(bench, options.rounds)
    for case in (Case(*names) for names in product(options.models, options.targets, options.workloads, options.dtype, options.quantize)):
        inputs = prepare(bench, case, options.steps)
        measured.append(measure(bench, inputs, options.rounds, variants))
    write_results(options, arguments, start_up, measured)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(lambda: main(sys.argv[1:])))
