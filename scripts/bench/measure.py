"""Measures one case: chooses the peer's best variant, runs both sides in turn and compares their numbers."""

import statistics
import sys
from dataclasses import dataclass

from processes import RunFailed, TrainingRun
from shapes import SHAPES
from sides import Bench, Inputs, Variant, gemm_rate, run_ours, run_peer

FIRST_MEASURED = 2  # the first step is a warm-up
CALIBRATION_STEPS = 3
# Relative differences. In bfloat16 each side rounds its activations to 8 bits, at different points.
TOLERANCES = {"float32": {"loss": 1e-5, "grad_norm": 1e-5}, "bfloat16": {"loss": 1e-3, "grad_norm": 1e-2}}


class Disagreement(Exception):
    """The two sides did not compute the same."""


@dataclass
class Round:
    ours: TrainingRun
    peer: TrainingRun
    gemm: float  # FLOP/s


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def rate(run: TrainingRun) -> float:
    """Input tokens per second over the measured steps."""
    return run.tokens(FIRST_MEASURED) / run.seconds(FIRST_MEASURED)


def relative(ours: float, theirs: float) -> float:
    return abs(ours - theirs) / max(abs(theirs), 1e-12)


def largest_differences(ours: list[dict], theirs: list[dict]) -> dict[str, float]:
    if [row["num_input_tokens"] for row in ours] != [row["num_input_tokens"] for row in theirs]:
        raise Disagreement("the sides did not see the same numbers of tokens")
    return {key: max(relative(a[key], b[key]) for a, b in zip(ours, theirs, strict=True)) for key in ("loss", "grad_norm")}


def check_agreement(ours: list[dict], theirs: list[dict], dtype: str) -> dict[str, float]:
    """The largest differences; raises Disagreement if one is NaN or above its tolerance, or if a gradient is 0."""
    found = largest_differences(ours, theirs)
    for key, difference in found.items():
        if not difference <= TOLERANCES[dtype][key]:
            raise Disagreement(f"{key}: the largest relative difference is {difference:.1e}, expected at most {TOLERANCES[dtype][key]:.0e}")
    if not all(row["grad_norm"] > 0 for row in ours):
        raise Disagreement("a gradient is 0: nothing was trained")
    return found


def calibrate(bench: Bench, inputs: Inputs, variants: list[Variant]) -> tuple[Variant, dict[str, dict]]:
    """The fastest variant of a short run, and the tokens per second of each."""
    found = {}
    for variant in variants:
        try:
            run, _ = run_peer(bench, inputs, variant, min(CALIBRATION_STEPS, len(inputs.steps)))
            found[str(variant)] = {"tokens_per_second": rate(run), "peak_rss": run.peak_rss}
            say(f"  PEFT {variant}: {rate(run):.1f} tokens/s, {run.peak_rss / 1e9:.2f} GB")
        except RunFailed as failure:
            if "can't allocate memory" not in str(failure):
                raise
            found[str(variant)] = {"tokens_per_second": 0.0, "peak_rss": None}
            say(f"  PEFT {variant}: does not fit into {bench.memory_limit / 1e9:.1f} GB")
    best = max(variants, key=lambda variant: found[str(variant)]["tokens_per_second"])
    if found[str(best)]["tokens_per_second"] == 0:
        raise RunFailed(f"{inputs.case}: no variant of the peer fits into memory")
    return best, found


def run_round(bench: Bench, inputs: Inputs, variant: Variant, number: int) -> tuple[Round, dict]:
    """Runs each side once; the side that begins alternates between rounds."""
    steps = len(inputs.steps)
    if number % 2 == 0:
        ours = run_ours(bench, inputs, steps)
        peer, facts = run_peer(bench, inputs, variant, steps)
    else:
        peer, facts = run_peer(bench, inputs, variant, steps)
        ours = run_ours(bench, inputs, steps)
    result = Round(ours, peer, gemm_rate(bench, inputs))
    say(f"  round {number + 1}: ours {rate(ours):.1f}, PEFT {rate(peer):.1f} tokens/s, ratio {rate(ours) / rate(peer):.2f}; "
        f"GEMM {result.gemm / 1e9:.0f} GFLOP/s")  # fmt: skip
    return result, facts


def print_side_by_side(case: str, ours: list[dict], theirs: list[dict]) -> None:
    print(f"\n{case}\n{'step':>4} {'loss':>12} {'PEFT':>12} {'difference':>10} {'grad_norm':>12} {'PEFT':>12} {'difference':>10}")
    for a, b in zip(ours, theirs, strict=True):
        cells = [f"{a[key]:12.7f} {b[key]:12.7f} {relative(a[key], b[key]):10.1e}" for key in ("loss", "grad_norm")]
        print(f"{a['step']:4} {' '.join(cells)}")
    sys.stdout.flush()


def gemm_fractions(inputs: Inputs, rounds: list[Round]) -> dict[str, float]:
    """The fraction of the GEMM rate that lora-train reaches, with the head counted for supervised tokens or for all tokens."""
    case, measured = inputs.case, inputs.steps[FIRST_MEASURED - 1 :]
    fractions = {}
    for key, head in (("supervised_head", lambda step: step.supervised), ("whole_head", lambda step: step.tokens())):
        flops = sum(SHAPES[case.model].step_flops(case.targets, step.lengths, head(step)) for step in measured)
        fractions[key] = statistics.median(flops / r.ours.seconds(FIRST_MEASURED) / r.gemm for r in rounds)
    return fractions


def side(runs: list[TrainingRun], weights: int) -> dict:
    peak = statistics.median(run.peak_rss for run in runs)
    return {
        "tokens_per_second": statistics.median(rate(run) for run in runs),
        "peak_rss": peak,
        "beyond_weights": peak - weights,
        "start_up": statistics.median(run.start_up for run in runs),
        "cpu_seconds": statistics.median(run.cpu_seconds for run in runs),
        "observed_over_reported": max(run.observed_over_reported for run in runs),
        "metrics": runs[0].rows,
    }


def measure(bench: Bench, inputs: Inputs, num_rounds: int, variants: list[Variant]) -> dict:
    """The results of a case, as written to the results file."""
    case, weights = inputs.case, inputs.weights_bytes()
    say(f"{case}: {statistics.mean(step.tokens() for step in inputs.steps):.0f} tokens per step")
    variant, calibration = calibrate(bench, inputs, variants)
    rounds, facts = [], {}
    for number in range(num_rounds):
        result, facts = run_round(bench, inputs, variant, number)
        rounds.append(result)
        if number == 0:
            print_side_by_side(str(case), result.ours.rows, result.peer.rows)
        differences = check_agreement(result.ours.rows, result.peer.rows, case.dtype)
    ratios = [rate(r.ours) / rate(r.peer) for r in rounds]
    return {
        "case": vars(case),
        "ours": side([r.ours for r in rounds], weights),
        "peer": side([r.peer for r in rounds], weights) | {"variant": str(variant), "calibration": calibration} | facts,
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "memory_ratio": statistics.median((r.ours.peak_rss - weights) / (r.peer.peak_rss - weights) for r in rounds),
        "differences": differences,
        "gemm_flops_per_second": statistics.median(r.gemm for r in rounds),
        "gemm_fraction": gemm_fractions(inputs, rounds),
        "weights_bytes": weights,
        "memory_limit": bench.memory_limit,
    }
