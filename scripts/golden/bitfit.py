"""BitFit (Ben Zaken et al. 2022), which PEFT does not have: the biases of a plain PyTorch model are trained."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from small_adapters import write_json

PREFIX = "base_model.model."


class BitFit(torch.nn.Module):
    """A model whose biases are trained, with the names of parameters that an adapter of PEFT would have."""

    def __init__(self, base: torch.nn.Module):
        super().__init__()
        self.base_model = torch.nn.Module()
        self.base_model.model = base.requires_grad_(False)
        for bias in biases_of(base).values():
            bias.requires_grad_(True)

    def forward(self, *args, **kwargs):
        return self.base_model.model(*args, **kwargs)


def is_bitfit(adapter: dict | None) -> bool:
    return adapter is not None and adapter.get("peft_type") == "BITFIT"


def biases_of(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if name.endswith(".bias")}


@torch.no_grad()
def write_bitfit(model: torch.nn.Module, folder: Path, generator: torch.Generator) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {PREFIX + name: bias + 0.1 * torch.randn(bias.shape, generator=generator) for name, bias in biases_of(model).items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    write_json(folder / "adapter_config.json", {"peft_type": "BITFIT", "task_type": "CAUSAL_LM", "base_model_name_or_path": "model"})


@torch.no_grad()
def load_bitfit(base: torch.nn.Module, folder: Path) -> BitFit:
    stored = load_file(folder / "adapter_model.safetensors")
    for name, bias in biases_of(base).items():
        bias.copy_(stored[PREFIX + name])
    return BitFit(base).train(base.training)
