#!/usr/bin/env python3
"""Writes tests/data/optim/loraplus.safetensors: PEFT's LoRA+ optimizers on a tiny model, step by step.

The model has every kind of parameter that LoRA+ distinguishes: A and B of a Linear and of an Embedding, DoRA magnitudes,
biases, and a module that is trained in full. Gradients are random, the learning rate falls. Tensors are named
    <case>/initial/<parameter>   <case>/<step>/grad/<parameter>   <case>/<step>/param/<parameter>
with PEFT's parameter names without the adapter's name. The metadata holds each case's options and its learning rates by
parameter as JSON, and the versions. Needs torch, peft and safetensors:
    python scripts/golden/loraplus.py
"""

import json
from pathlib import Path

import peft
import torch
from peft import LoraConfig, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import save_file

OUTPUT = Path(__file__).resolve().parents[2] / "tests" / "data" / "optim" / "loraplus.safetensors"
STEPS = 6
LEARNING_RATE = 1e-2
PLUS = {"loraplus_lr_ratio": 12.0, "loraplus_lr_embedding": 3e-3, "loraplus_weight_decay": 0.1}
CASES = {
    "adamw": {"kind": "adamw"} | PLUS,
    "adamw_defaults": {"kind": "adamw", "loraplus_lr_ratio": 0.5},
    "sgd": {"kind": "sgd"} | PLUS,
}


class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(7, 4)
        self.proj = torch.nn.Linear(4, 5)
        self.head = torch.nn.Linear(5, 3)


def adapted_model():
    config = LoraConfig(r=2, target_modules=["embed", "proj"], modules_to_save=["head"], bias="all", use_dora=True)
    return get_peft_model(Tiny(), config)


def make_optimizer(model, options):
    arguments = {key: value for key, value in options.items() if key.startswith("loraplus")}
    if options["kind"] == "sgd":
        return create_loraplus_optimizer(model, torch.optim.SGD, lr=LEARNING_RATE, **arguments)
    return create_loraplus_optimizer(model, torch.optim.AdamW, lr=LEARNING_RATE, fused=True, **arguments)


def run(name, options, generator, tensors):
    model = adapted_model()
    parameters = {n.removeprefix("base_model.model.").replace(".default", ""): p for n, p in model.named_parameters() if p.requires_grad}
    for n, p in parameters.items():
        p.data = torch.randn(p.shape, generator=generator)
        tensors[f"{name}/initial/{n}"] = p.detach().clone()
    optimizer = make_optimizer(model, options)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / STEPS)
    rates = {n: group["lr"] for group in optimizer.param_groups for p in group["params"] for n, q in parameters.items() if q is p}
    for step in range(STEPS):
        for n, p in parameters.items():
            p.grad = torch.randn(p.shape, generator=generator)
            tensors[f"{name}/{step}/grad/{n}"] = p.grad.clone()
        optimizer.step()
        schedule.step()
        for n, p in parameters.items():
            tensors[f"{name}/{step}/param/{n}"] = p.detach().clone()
    return options | {"learning_rate": LEARNING_RATE, "steps": STEPS, "rates": rates}


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(9)
    tensors = {}
    metadata = {"torch": torch.__version__, "peft": peft.__version__}
    for name, options in CASES.items():
        metadata[name] = json.dumps(run(name, options, generator, tensors))
    save_file(tensors, OUTPUT, metadata)
    print(f"{len(tensors)} tensors in {OUTPUT}")


if __name__ == "__main__":
    main()
