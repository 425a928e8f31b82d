"""Writes run_full.json, expected_full.json and full.safetensors of tests/data/diffusion/sd1: a training of the whole UNet.

    PYTHONPATH=<folder of diffusers and open_clip> python diffusion_full.py [--stability]

20 steps on the rows of the other runs. `trained` are, tensor by tensor in the order of their names, every STRIDE-th number from the first
on. --stability only compares with a training in float64: what then moves must be well below the tolerances.
"""

import sys

import torch
from diffusion_models import DIFFUSION
from diffusion_training import TRAINING, image_loss, load_unet, rows_of, schedule_of, train_steps
from llama_reference import be_quiet, one_thread
from quantized import save
from small_adapters import write_json

FAMILY = "sd1"
STRIDE = 61
# A large epsilon: otherwise Adam's steps of weights with next to no gradient are the sign of rounding errors.
FULL = TRAINING | {"adam_epsilon": 1e-4}


def decays(name: str, model) -> bool:
    """As transformers' Trainer: neither biases nor norms."""
    module = model.get_submodule(name.rpartition(".")[0])
    return not name.endswith("bias") and not isinstance(module, (torch.nn.GroupNorm, torch.nn.LayerNorm))


def train(dtype: torch.dtype) -> tuple[list[dict], dict[str, torch.Tensor]]:
    model, schedule, rows = load_unet(FAMILY, torch.float32).to(dtype), schedule_of(FAMILY), rows_of(FAMILY, dtype)
    trained = dict(model.named_parameters())
    steps = train_steps(trained, rows, lambda row: image_loss(model, schedule, row), FULL, lambda name: decays(name, model))
    return steps, {name: parameter.detach() for name, parameter in trained.items()}


def print_stability() -> None:
    (steps, weights), (exact_steps, exact) = train(torch.float32), train(torch.float64)
    losses = max(abs(a["loss"] / b["loss"] - 1) for a, b in zip(steps, exact_steps))
    moved = {name: ((weight - exact[name]).abs().max() / exact[name].abs().max()).item() for name, weight in weights.items()}
    changed = {name: (weight - before).abs().max().item() for (name, weight), before in zip(weights.items(), load_unet(FAMILY).parameters())}
    print(f"losses {losses:.1e}, weights {max(moved.values()):.1e} ({max(moved, key=moved.get)}), least change {min(changed.values()):.1e}")


def write() -> None:
    steps, weights = train(torch.float32)
    config = {
        "model": {"path": "model", "dtype": "float32", "device": "cpu"},
        "adapter": None,
        "data": {"train": [{"path": "rows/rows.jsonl", "format": "diffusion_tensors"}], "shuffle": False},
        "training": FULL,
        "output_dir": "out",
    }
    write_json(DIFFUSION / FAMILY / "run_full.json", config)
    expected = {"steps": steps, "num_trainable": sum(weight.numel() for weight in weights.values()), "stride": STRIDE}
    write_json(DIFFUSION / FAMILY / "expected_full.json", expected)
    save({"trained": torch.cat([weights[name].flatten()[::STRIDE] for name in sorted(weights)])}, DIFFUSION / FAMILY / "full.safetensors")


if __name__ == "__main__":
    be_quiet()
    with one_thread():
        print_stability() if "--stability" in sys.argv[1:] else write()
