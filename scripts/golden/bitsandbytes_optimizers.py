#!/usr/bin/env python3
"""Writes tests/data/optim/bitsandbytes_optimizers.safetensors: twenty steps of bitsandbytes' Lion (8 and 32 bits) and paged AdamW (32 bits).

The arithmetic is bitsandbytes' own CPU code (backends/cpu/ops.py). Its quantiser rounds to a table of 65,536 numbers, which maps an exact
0 to a code of about 1.5e-5: Lion would then move elements that never had a gradient. As in small_state_optimizers.py, codes are the
nearest ones of the map instead, as in bitsandbytes' CUDA and default backends; the case `lion_8bit_table` has the CPU's codes, and shows
what they change. Paged optimisers are the unpaged ones on the CPU, as bitsandbytes warns.

Parameters, gradients and names are those of small_state_optimizers.py. Needs scripts/golden/requirements.txt:
    python scripts/golden/bitsandbytes_optimizers.py
"""

import json
from importlib.metadata import version
from pathlib import Path

import bitsandbytes
import torch
from bitsandbytes.backends.cpu import ops as cpu_ops
from safetensors.torch import save_file
from small_state_optimizers import BFLOAT, FLOAT, SHAPES, STATE_NAMES, STEPS, WITHOUT_GRADIENT, numbers, quantize_to_nearest

OUTPUT = Path(__file__).resolve().parents[2] / "tests" / "data" / "optim" / "bitsandbytes_optimizers.safetensors"

LION = {"beta1": 0.9, "beta2": 0.99, "learning_rate": 1e-3}
ADAMW = {"beta1": 0.9, "beta2": 0.95, "epsilon": 1e-6, "learning_rate": 1e-2}
CASES = {
    "lion_32bit": FLOAT | LION | {"kind": "lion_32bit"},
    "lion_32bit_bfloat16": BFLOAT | LION | {"kind": "lion_32bit"},
    "lion_8bit": FLOAT | LION | {"kind": "lion_8bit"},
    "lion_8bit_bfloat16": BFLOAT | LION | {"kind": "lion_8bit"},
    "lion_8bit_table": FLOAT | LION | {"kind": "lion_8bit"},
    "paged_adamw_32bit": FLOAT | ADAMW | {"kind": "paged_adamw_32bit"},
    "paged_adamw_32bit_bfloat16": BFLOAT | ADAMW | {"kind": "paged_adamw_32bit"},
}


def make_optimizer(options, parameters):
    groups = [
        {"params": [p for n, p in parameters.items() if n.startswith("decayed")], "weight_decay": options["weight_decay"]},
        {"params": [p for n, p in parameters.items() if n.startswith("plain")], "weight_decay": 0.0},
    ]
    rate, betas, kind = options["learning_rate"], (options["beta1"], options["beta2"]), options["kind"]
    bits, is_paged = 8 if "8bit" in kind else 32, "paged" in kind
    if "lion" in kind:
        return bitsandbytes.optim.Lion(groups, lr=rate, betas=betas, optim_bits=bits, is_paged=is_paged)
    return bitsandbytes.optim.AdamW(groups, lr=rate, betas=betas, eps=options["epsilon"], optim_bits=bits, is_paged=is_paged)


def run(name, options, tensors):
    dtype = getattr(torch, options["dtype"])
    parameters = {n: torch.nn.Parameter(numbers(1000 + i, shape).to(dtype)) for i, (n, shape) in enumerate(SHAPES.items())}
    optimizer = make_optimizer(options, parameters)
    norms = []
    for step in range(STEPS):
        for i, (n, p) in enumerate(parameters.items()):
            missing = n == WITHOUT_GRADIENT[0] and step in WITHOUT_GRADIENT[1]
            p.grad = None if missing else (numbers(10 * step + i, SHAPES[n]) * 0.02 * (1 + step)).to(dtype)
        norms.append(torch.nn.utils.clip_grad_norm_(parameters.values(), options["max_norm"] or float("inf")).float())
        for group in optimizer.param_groups:
            group["lr"] = options["learning_rate"] * (1 - step / STEPS)
        optimizer.step()
    tensors[f"{name}/norms"] = torch.stack(norms)
    for n, p in parameters.items():
        tensors[f"{name}/param/{n}"] = p.detach().clone()
        for key, value in optimizer.state[p].items():
            if torch.is_tensor(value) and not key.startswith("qmap"):
                tensors[f"{name}/state/{n}.{STATE_NAMES[key]}"] = value.clone()


def main():
    torch.set_num_threads(1)
    table = cpu_ops._quant_blockwise_fp32_direct
    tensors, metadata = {}, {package: version(package) for package in ("torch", "bitsandbytes")}
    for name, options in CASES.items():
        cpu_ops._quant_blockwise_fp32_direct = table if name.endswith("_table") else quantize_to_nearest
        run(name, options, tensors)
        metadata[name] = json.dumps(options | {"steps": STEPS})
    save_file(tensors, OUTPUT, metadata)
    print(f"{len(tensors)} tensors in {OUTPUT}")


if __name__ == "__main__":
    main()
