#!/usr/bin/env python3
"""Writes tests/data/optim/optimizers.safetensors: torch's optimizers on small tensors, step by step.

Each case is ten steps with two parameter groups (decayed and not), a learning rate that changes, and gradients that
are missing for one parameter at some steps. Tensors are named
    <case>/initial/<parameter>   <case>/<step>/grad/<parameter>   <case>/<step>/param/<parameter>   <case>/norms
    <case>/state/<parameter>.<state>
and the metadata holds each case's options as JSON, and the version of torch. Needs torch and safetensors:
    python scripts/golden/optimizers.py
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

OUTPUT = Path(__file__).resolve().parents[2] / "tests" / "data" / "optim" / "optimizers.safetensors"
STEPS = 10
SHAPES = {"decayed.matrix": (5, 3), "decayed.vector": (37,), "plain.bias": (3,), "plain.norm": (7,)}
WITHOUT_GRADIENT = ("decayed.vector", (3, 4))  # a parameter, and the steps at which it has no gradient

FLOAT = {"dtype": "float32", "max_norm": 0.0}  # a max_norm of 0: no clipping
BFLOAT = {"dtype": "bfloat16", "max_norm": 0.0}
CASES = {
    "adamw_float32": FLOAT | {"kind": "adamw", "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8, "max_norm": 6.0},
    "adamw_defaults": FLOAT | {"kind": "adamw", "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
    "adamw_bfloat16": BFLOAT | {"kind": "adamw", "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-6},
    "sgd_float32": FLOAT | {"kind": "sgd", "weight_decay": 0.1, "max_norm": 6.0},
    "sgd_no_decay": FLOAT | {"kind": "sgd", "weight_decay": 0.0},
    "sgd_bfloat16": BFLOAT | {"kind": "sgd", "weight_decay": 0.1},
}


def make_optimizer(options, parameters):
    groups = [
        {"params": [p for n, p in parameters.items() if n.startswith("decayed")], "weight_decay": options["weight_decay"]},
        {"params": [p for n, p in parameters.items() if n.startswith("plain")], "weight_decay": 0.0},
    ]
    if options["kind"] == "sgd":
        return torch.optim.SGD(groups, lr=options["learning_rates"][0])
    return torch.optim.AdamW(
        groups, lr=options["learning_rates"][0], betas=(options["beta1"], options["beta2"]), eps=options["epsilon"], fused=True
    )


def run(name, options, generator, tensors):
    dtype = getattr(torch, options["dtype"])

    def draw(shape):
        return torch.randn(shape, generator=generator).to(dtype)

    parameters = {n: torch.nn.Parameter(draw(shape)) for n, shape in SHAPES.items()}
    for n, p in parameters.items():
        tensors[f"{name}/initial/{n}"] = p.detach().clone()
    optimizer = make_optimizer(options, parameters)
    norms = []
    for step, rate in enumerate(options["learning_rates"]):
        for n, p in parameters.items():
            missing = n == WITHOUT_GRADIENT[0] and step in WITHOUT_GRADIENT[1]
            p.grad = None if missing else draw(SHAPES[n]) * (0.25 + 0.25 * step)
            if not missing:
                tensors[f"{name}/{step}/grad/{n}"] = p.grad.clone()
        max_norm = options["max_norm"] or float("inf")
        norms.append(torch.nn.utils.clip_grad_norm_(parameters.values(), max_norm).float())
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        for n, p in parameters.items():
            tensors[f"{name}/{step}/param/{n}"] = p.detach().clone()
    tensors[f"{name}/norms"] = torch.stack(norms)
    for n, p in parameters.items():
        for key, value in optimizer.state[p].items():
            if torch.is_tensor(value):
                tensors[f"{name}/state/{n}.{key}"] = value.clone()


def main():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(7)
    tensors = {}
    metadata = {"torch": torch.__version__}
    for name, options in CASES.items():
        base = 1e-2 if options["kind"] == "adamw" else 5e-2
        options["learning_rates"] = [base * (1 - step / STEPS) for step in range(STEPS)]
        run(name, options, generator, tensors)
        metadata[name] = json.dumps(options)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, OUTPUT, metadata)
    print(f"{len(tensors)} tensors in {OUTPUT}")


if __name__ == "__main__":
    main()
