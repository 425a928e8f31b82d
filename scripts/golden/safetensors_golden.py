"""Writes tests/data/safetensors/*.safetensors with Python's safetensors: the bytes that our writer must produce.

Usage: python scripts/golden/safetensors_golden.py [output folder]
Needs torch and safetensors; the versions used are in versions.json next to the files.
"""

import json
import pathlib
import sys

import safetensors
import torch
from safetensors.torch import save_file

DTYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "F8_E5M2": torch.float8_e5m2, "F8_E4M3": torch.float8_e4m3fn,
    "F8_E8M0": torch.float8_e8m0fnu,
    "I16": torch.int16, "U16": torch.uint16, "F16": torch.float16, "BF16": torch.bfloat16, "I32": torch.int32, "U32": torch.uint32,
    "F32": torch.float32, "F64": torch.float64, "I64": torch.int64, "U64": torch.uint64,
}


def of_bytes(dtype, *shape):
    """A tensor whose bytes count 0, 1, 0, 1, ... (valid in every dtype, BOOL included)."""
    size = torch.empty(shape, dtype=dtype).numel() * torch.empty(0, dtype=dtype).element_size()
    return (torch.arange(size) % 2).to(torch.uint8).view(dtype).reshape(shape)


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2] / "tests/data/safetensors")
    folder.mkdir(parents=True, exist_ok=True)
    # Every dtype twice, so that both orders (dtype descending, then name) show.
    dtypes = {f"{prefix}.{name}": of_bytes(dtype, 8) for name, dtype in DTYPES.items() for prefix in ("b", "a")}
    save_file(dtypes, folder / "dtypes.safetensors", metadata={"format": "pt"})
    names = {
        "scalar": of_bytes(torch.float32), "empty": of_bytes(torch.float32, 0, 3), "matrix": of_bytes(torch.bfloat16, 3, 5),
        "odd": of_bytes(torch.uint8, 3), "é\"\\\n\t\x01\x1f\x7f/😀": of_bytes(torch.int64, 1), "": of_bytes(torch.float16, 1),
        "Z": of_bytes(torch.float32, 1), "a": of_bytes(torch.float32, 2), "a.b": of_bytes(torch.float32, 1, 1, 1), "ab": of_bytes(torch.float32, 1),
    }
    save_file(names, folder / "names.safetensors", metadata={"é\"": "\b\f\r\u2028"})
    save_file({}, folder / "nothing.safetensors")
    versions = {"safetensors": safetensors.__version__, "torch": torch.__version__.split("+")[0]}
    (folder / "versions.json").write_text(json.dumps(versions) + "\n")


if __name__ == "__main__":
    main()
