"""Writes tests/data/lora_ga/starts.json: the initial lora_A and lora_B of PEFT's LoRA-GA for every direction and scale, from a given
gradient. The decomposition has as many vectors as the gradient, so that only signs depend on random numbers ("random" is left out).

    python lora_ga_starts.py
"""

import json
from pathlib import Path

import peft
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraGAConfig

FILE = Path(__file__).resolve().parents[2] / "tests" / "data" / "lora_ga" / "starts.json"
INPUTS, OUTPUTS, RANK, ALPHA, GAMMA = 6, 7, 2, 5, 25


def rounded(tensor: torch.Tensor) -> list:
    return [float(f"{value:.8g}") for value in tensor.flatten().tolist()]


def start(weight: torch.Tensor, gradient: torch.Tensor, direction: str, scale: str) -> dict:
    torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(INPUTS, OUTPUTS, bias=False))
    model[0].weight.data = weight.clone()
    model[0]._peft_loraga_grad = gradient.clone()
    ga = LoraGAConfig(direction=direction, scale=scale, stable_gamma=GAMMA)
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["0"], init_lora_weights="lora_ga", lora_ga_config=ga)
    layer = get_peft_model(model, config).base_model.model[0]
    A, B = layer.lora_A["default"].weight.detach(), layer.lora_B["default"].weight.detach()
    return {"direction": direction, "scale": scale, "A": rounded(A), "B": rounded(B)}


def main() -> None:
    generator = torch.Generator().manual_seed(7)
    gradient = torch.randn(OUTPUTS, INPUTS, generator=generator)
    weight = torch.randn(OUTPUTS, INPUTS, generator=generator) * torch.tensor([3.0, 1, 1, 0.5, 0.5, 0.2])
    cases = [start(weight, gradient, direction, scale)
             for direction in ("ArB2r", "A2rBr", "ArBr") for scale in ("stable", "weight_svd", "gd_scale", "unit")]  # fmt: skip
    golden = {"peft": peft.__version__, "rank": RANK, "lora_alpha": ALPHA, "stable_gamma": GAMMA, "shape": [OUTPUTS, INPUTS],
              "gradient": rounded(gradient), "weight": rounded(weight), "cases": cases}  # fmt: skip
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(golden, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
