"""What the scripts of tests/data/quantized share: where it lies, how files are written, and the versions that made them."""

import importlib.metadata
import platform
from pathlib import Path

import torch
from safetensors.torch import save_file
from small_adapters import DATA, write_json

QUANTIZED = DATA / "quantized"
FLOAT_TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """A safetensors file as transformers writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: tensor.detach().contiguous() for key, tensor in tensors.items()}, path, metadata={"format": "pt"})


def write_versions(folder: Path, *packages: str) -> None:
    names = ("torch", "safetensors", *packages)
    write_json(folder / "VERSIONS.json", {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names})


def require(holds: bool, what: str) -> None:
    """The packages' own functions agree with what is written."""
    if not holds:
        raise RuntimeError(what)


def print_size(folder: Path) -> None:
    print(f"{folder.name}: {sum(file.stat().st_size for file in folder.rglob('*') if file.is_file()) >> 10} KiB")
