"""AdaLoRA in the reference: the term that PEFT's model adds to the loss, and its choice of ranks after each update."""

from types import SimpleNamespace

import torch
from peft import AdaLoraModel, PeftModel


def is_adalora(run: dict) -> bool:
    return (run["adapter"] or {}).get("peft_type") == "ADALORA"


def is_adalora_model(model: torch.nn.Module) -> bool:
    return isinstance(model, PeftModel) and isinstance(model.base_model, AdaLoraModel)


def orthogonality_loss(model: PeftModel) -> torch.Tensor:
    """What AdaLoraModel.forward adds to the loss of a batch: a batch without documents has nothing else."""
    model.base_model.model.forward = lambda: SimpleNamespace(loss=torch.zeros(()))
    try:
        return model.base_model.forward().loss
    finally:
        del model.base_model.model.forward


def rank_pattern(model: PeftModel) -> dict:
    """As PEFT saves it."""
    return {key.replace(".default", ""): ranks for key, ranks in model.active_peft_config.rank_pattern.items()}
