#!/usr/bin/env python3
"""Writes tests/data/optim/schedules.json: the learning rates of transformers' schedulers, step by step.

Needs torch and transformers (the versions used are in the file). Run from anywhere:
    python scripts/golden/schedules.py
"""

import itertools
import json
import warnings
from pathlib import Path

import torch
import transformers
from transformers import get_scheduler

OUTPUT = Path(__file__).resolve().parents[2] / "tests" / "data" / "optim" / "schedules.json"
STEPS_PAST_THE_END = 3

# kind -> list of lr_scheduler_kwargs
KWARGS = {
    "linear": [{}],
    "cosine": [{}, {"num_cycles": 0.25}, {"num_cycles": 1.5}, {"num_cycles": 0}],
    "cosine_with_restarts": [{}, {"num_cycles": 2}, {"num_cycles": 3}],
    "polynomial": [
        {},
        {"power": 2.0},
        {"power": 0.5, "lr_end": 1e-5},
        {"power": 3.0, "lr_end": 0.0},
        {"power": 0.0, "lr_end": 1e-6},
    ],
    "constant": [{}],
    "constant_with_warmup": [{}],
    "inverse_sqrt": [{}, {"timescale": 5}, {"timescale": 100}],
}
RAMPS = ["linear", "cosine", "1-sqrt"]
LENGTHS = [(0, 20), (1, 20), (6, 17), (0, 1), (25, 20)]  # (warmup_steps, total_steps); the last one never leaves its warm-up
RATES = [2e-4, 1.0]


def warmup_stable_decay_cases():
    for warmup_type, decay_type in itertools.product(RAMPS, RAMPS):
        yield 4, 20, {"num_decay_steps": 7, "warmup_type": warmup_type, "decay_type": decay_type}
        yield 5, 20, {"num_decay_steps": 6, "warmup_type": warmup_type, "decay_type": decay_type, "min_lr_ratio": 0.1}
    yield 0, 20, {"num_decay_steps": 20}
    yield 3, 20, {"num_decay_steps": 0}
    yield 3, 20, {"num_decay_steps": 5, "num_stable_steps": 4}
    yield 3, 20, {"num_decay_steps": 5, "num_stable_steps": 30}
    yield 2, 20, {"num_decay_steps": 10, "num_cycles": 1.5, "min_lr_ratio": 0.25}
    yield 20, 20, {"num_decay_steps": 0, "num_stable_steps": 0}


def cases():
    for kind, all_kwargs in KWARGS.items():
        for kwargs, (warmup, total), rate in itertools.product(all_kwargs, LENGTHS, RATES):
            yield kind, warmup, total, rate, kwargs
    for warmup, total, kwargs in warmup_stable_decay_cases():
        yield "warmup_stable_decay", warmup, total, 3e-4, kwargs


def learning_rates(kind, warmup, total, rate, kwargs):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler = get_scheduler(kind, optimizer, warmup, total, scheduler_specific_kwargs=kwargs)
    rates = []
    for _ in range(total + STEPS_PAST_THE_END):
        rates.append(float(scheduler.get_last_lr()[0]))
        optimizer.step()
        scheduler.step()
    return rates


def main():
    warnings.simplefilter("ignore")  # num_stable_steps is given together with num_training_steps on purpose
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    lines = []
    for kind, warmup, total, rate, kwargs in cases():
        case = {
            "kind": kind,
            "warmup_steps": warmup,
            "total_steps": total,
            "learning_rate": rate,
            "kwargs": kwargs,
            "learning_rates": learning_rates(kind, warmup, total, rate, kwargs),
        }
        lines.append(json.dumps(case, separators=(",", ":")))
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text('{"versions": ' + json.dumps(versions) + ', "cases": [\n' + ",\n".join(lines) + "\n]}\n")
    print(f"{len(lines)} cases in {OUTPUT}")


if __name__ == "__main__":
    main()
