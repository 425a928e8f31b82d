"""Writes tests/data/diffusion/*/expected_bfloat16.json: run_attention.json with the network in bfloat16, as diffusers' scripts train it
with `--mixed_precision bf16` (autocast, the adapter in float32, the loss in float32), and how far that is from the float32 run.

    PYTHONPATH=<folder of diffusers> python diffusion_bfloat16.py
"""

import json

import torch
from diffusion_training import (
    DIFFUSION,
    load_unet,
    prediction_and_target,
    rows_of,
    schedule_of,
    train_steps,
    trained_parameters,
)
from llama_reference import be_quiet, one_thread
from peft import PeftModel
from small_adapters import write_json


def bfloat16_steps(family: str) -> list[dict]:
    folder = DIFFUSION / family / "adapters" / "attention"
    model = PeftModel.from_pretrained(load_unet(family, torch.bfloat16), folder, is_trainable=True)
    schedule = schedule_of(family)

    def loss_of(row: dict[str, torch.Tensor]) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            prediction, target = prediction_and_target(model, schedule, row)
        return torch.nn.functional.mse_loss(prediction.float(), target.float())

    return train_steps(trained_parameters(model), rows_of(family, torch.bfloat16), loss_of)


def main() -> None:
    be_quiet()
    one_thread()
    for family in ("sd1", "sdxl"):
        steps = bfloat16_steps(family)
        write_json(DIFFUSION / family / "expected_bfloat16.json", {"steps": [{key: step[key] for key in ("loss", "grad_norm")} for step in steps]})
        exact = json.loads((DIFFUSION / family / "expected_attention.json").read_text())["steps"]
        for key in ("loss", "grad_norm"):
            print(f"{family} {key}: {max(abs(a[key] / b[key] - 1) for a, b in zip(steps, exact, strict=True)):.1e} from float32")


if __name__ == "__main__":
    main()
