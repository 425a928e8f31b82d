"""What stored_adapters.py and old_peft.py share: trained-looking tensors, the loss of the rows, and folders without traces of a machine.

Everything here runs with transformers 4.30 and PEFT 0.3 too.
"""

import json
from pathlib import Path

import torch

DATA = Path(__file__).resolve().parents[2] / "tests" / "data"
ROWS = DATA / "adapters" / "rows.jsonl"
VOCABULARY = 40  # of the rows


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def add_noise(model: torch.nn.Module, seed: int, only_trained: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad or not only_trained:
            noise = torch.randn(parameter.shape, generator=generator)
            if "lora_magnitude_vector" in name or "norm" in name:
                parameter.data.mul_(1 + 0.2 * noise)
            else:
                parameter.data.copy_((parameter.data if only_trained else 0) + 0.3 * noise)


def mean_loss(model: torch.nn.Module) -> float:
    """Over the supervised tokens of the rows."""
    total, count = 0.0, 0
    for line in ROWS.read_text().splitlines():
        ids = torch.tensor([json.loads(line)["input_ids"]])
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, :-1].double()
        total += torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum").item()
        count += ids.shape[1] - 1
    return total / count


def tidy(folder: Path) -> None:
    """Nothing of this machine: a plain name of the base, sets sorted, no model card."""
    (folder / "README.md").unlink(missing_ok=True)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "base"
    for key in ("target_modules", "modules_to_save"):
        if isinstance(config.get(key), list):
            config[key] = sorted(config[key])
    write_json(folder / "adapter_config.json", config)
