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
from small_state_optimizers import BFLOAT, FLOAT, STEPS, quantize_to_nearest, run

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


def make_optimizer(options, groups):
    rate, betas, kind = options["learning_rate"], (options["beta1"], options["beta2"]), options["kind"]
    bits, is_paged = 8 if "8bit" in kind else 32, "paged" in kind
    if "lion" in kind:
        return bitsandbytes.optim.Lion(groups, lr=rate, betas=betas, optim_bits=bits, is_paged=is_paged)
    return bitsandbytes.optim.AdamW(groups, lr=rate, betas=betas, eps=options["epsilon"], optim_bits=bits, is_paged=is_paged)


def main():
    torch.set_num_threads(1)
    table = cpu_ops._quant_blockwise_fp32_direct
    tensors, metadata = {}, {package: version(package) for package in ("torch", "bitsandbytes")}
    for name, options in CASES.items():
        cpu_ops._quant_blockwise_fp32_direct = table if name.endswith("_table") else quantize_to_nearest
        run(make_optimizer, name, options, tensors)
        metadata[name] = json.dumps(options | {"steps": STEPS})
    save_file(tensors, OUTPUT, metadata)
    print(f"{len(tensors)} tensors in {OUTPUT}")


if __name__ == "__main__":
    main()
