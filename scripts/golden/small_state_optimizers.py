#!/usr/bin/env python3
"""Writes tests/data/optim/small_state_optimizers.safetensors: twenty steps of the optimizers that keep less state than AdamW.

lion is that of lion-pytorch, adafactor that of transformers with Trainer's options, adamw_8bit that of bitsandbytes on the CPU.
bitsandbytes' CPU backend quantises by a coarse table, which is off by several codes near 0; here the nearest value of the map
is used, as in its CUDA and default backends.

Parameters and gradients come from `numbers`, which the test has too. The file has
    <case>/param/<parameter>   after the last step, in the dtype of the case
    <case>/norms               of the gradients before clipping
    <case>/state/<parameter>.<state>
    map/signed   map/unsigned  bitsandbytes' create_dynamic_map
and the metadata each case's options as JSON, and the versions. Needs scripts/golden/requirements.txt:
    python scripts/golden/small_state_optimizers.py
"""

import json
from importlib.metadata import version
from pathlib import Path

import bitsandbytes
import torch
from bitsandbytes.backends.cpu import ops as cpu_ops
from bitsandbytes.functional import create_dynamic_map
from lion_pytorch import Lion
from safetensors.torch import save_file
from transformers import Adafactor

OUTPUT = Path(__file__).resolve().parents[2] / "tests" / "data" / "optim" / "small_state_optimizers.safetensors"
STEPS = 20
SHAPES = {"decayed.matrix": (17, 241), "decayed.vector": (300,), "decayed.stack": (3, 4, 5), "plain.bias": (3,)}
WITHOUT_GRADIENT = ("decayed.stack", (3, 4))  # a parameter, and the steps at which it has no gradient

FLOAT = {"dtype": "float32", "max_norm": 3.0, "weight_decay": 0.1}
BFLOAT = {"dtype": "bfloat16", "max_norm": 0.0, "weight_decay": 0.1}  # a max_norm of 0: no clipping
CASES = {
    "lion": FLOAT | {"kind": "lion", "beta1": 0.9, "beta2": 0.99, "learning_rate": 1e-3},
    "adafactor": FLOAT | {"kind": "adafactor", "learning_rate": 1e-2},
    "adafactor_bfloat16": BFLOAT | {"kind": "adafactor", "learning_rate": 1e-2},
    "adamw_8bit": FLOAT | {"kind": "adamw_8bit", "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "learning_rate": 1e-2},
    "adamw_8bit_bfloat16": BFLOAT | {"kind": "adamw_8bit", "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-6, "learning_rate": 1e-2},
}
STATE_NAMES = {"state1": "exp_avg", "state2": "exp_avg_sq", "absmax1": "exp_avg_absmax", "absmax2": "exp_avg_sq_absmax"}


def numbers(seed, shape):
    """Cubes of hashes: between -1 and 1, of many magnitudes; every 17th number and the second block of 256 are 0."""
    n = torch.arange(torch.Size(shape).numel())
    h = ((n + 1) * 2654435761 + (seed + 1) * 374761393) % 2**32
    h = ((h ^ (h >> 15)) * 1103515245) % 2**32
    h = h ^ (h >> 13)
    u = h.double() / 2**31 - 1
    zero = (n % 17 == 0) | ((n >= 256) & (n < 512))
    return torch.where(zero, 0.0, u * u * u).reshape(shape)


def quantize_to_nearest(values, code, absmax_out, codes_out, blocksize):
    padded = torch.nn.functional.pad(values.flatten(), (0, -values.numel() % blocksize)).view(-1, blocksize)
    absmax_out.copy_(padded.abs().amax(1))
    scaled = padded * (1 / absmax_out.clamp(min=1e-38))[:, None]
    codes = torch.bucketize(scaled, (code[:-1] + code[1:]) / 2)
    codes_out.copy_(codes.flatten()[: values.numel()].view(values.shape))


def groups_of(options, parameters):
    return [
        {"params": [p for n, p in parameters.items() if n.startswith("decayed")], "weight_decay": options["weight_decay"]},
        {"params": [p for n, p in parameters.items() if n.startswith("plain")], "weight_decay": 0.0},
    ]


def make_optimizer(options, groups):
    rate = options["learning_rate"]
    if options["kind"] == "adafactor":
        return Adafactor(groups, lr=rate, scale_parameter=False, relative_step=False)
    betas = (options["beta1"], options["beta2"])
    if options["kind"] == "lion":
        return Lion(groups, lr=rate, betas=betas)
    return bitsandbytes.optim.AdamW(groups, lr=rate, betas=betas, eps=options["epsilon"], optim_bits=8)


def run(make, name, options, tensors):
    """Takes the steps with the optimizer that make(options, groups) gives, and adds the results to `tensors`."""
    dtype = getattr(torch, options["dtype"])
    parameters = {n: torch.nn.Parameter(numbers(1000 + i, shape).to(dtype)) for i, (n, shape) in enumerate(SHAPES.items())}
    optimizer = make(options, groups_of(options, parameters))
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
            if torch.is_tensor(value) and not key.startswith("qmap") and key != "RMS":
                tensors[f"{name}/state/{n}.{STATE_NAMES.get(key, key)}"] = value.clone()


def main():
    torch.set_num_threads(1)
    cpu_ops._quant_blockwise_fp32_direct = quantize_to_nearest
    tensors = {"map/signed": create_dynamic_map(signed=True), "map/unsigned": create_dynamic_map(signed=False)}
    metadata = {package: version(package) for package in ("torch", "transformers", "bitsandbytes", "lion-pytorch")}
    for name, options in CASES.items():
        run(make_optimizer, name, options, tensors)
        metadata[name] = json.dumps(options | {"steps": STEPS})
    save_file(tensors, OUTPUT, metadata)
    print(f"{len(tensors)} tensors in {OUTPUT}")


if __name__ == "__main__":
    main()
