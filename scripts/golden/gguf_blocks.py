"""Writes tests/data/quantized/gguf_blocks: every block type of GGUF that can be decoded, with random bytes, and refused ones.

blocks.gguf            one tensor per type, named like the type, of two rows of 256 elements
expected.safetensors   the same names: float32, what PyPI's gguf dequantises to
refused_<type>.gguf    one tensor of a type that is not read

The scales of a block (float16, or e8m0 bytes) are random too, but finite. Also the random blocks of gguf_models.py.
"""

import shutil

import numpy as np
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter
from gguf.quants import dequantize
from quantized import QUANTIZED, print_size, save, write_versions

FOLDER = QUANTIZED / "gguf_blocks"
ROWS, COLUMNS = 2, 256
PLAIN = ("F32", "F16", "BF16")

# type: offset of each float16 scale in a block, and how large it is there, so that values are about 0.1
SCALES = {
    "Q4_0": {0: 0.02}, "Q4_1": {0: 0.02, 2: -0.15}, "Q5_0": {0: 0.01}, "Q5_1": {0: 0.01, 2: -0.15}, "Q8_0": {0: 0.001},
    "Q2_K": {80: 0.01, 82: 0.015}, "Q3_K": {108: 0.003}, "Q4_K": {0: 8e-4, 2: 6e-3}, "Q5_K": {0: 4e-4, 2: 6e-3}, "Q6_K": {208: 8e-5},
    "IQ4_NL": {0: 0.002}, "IQ4_XS": {0: 1e-4},
}  # fmt: skip
REFUSED = ("IQ1_S", "IQ2_XXS", "IQ3_S", "TQ1_0", "Q8_1", "NVFP4")


def random_blocks(kind: GGMLQuantizationType, rows: int, columns: int, generator: np.random.Generator, spread: float = 0.2) -> np.ndarray:
    """Bytes [rows, bytes of a row]; scales vary by the factor `spread`."""
    elements, size = GGML_QUANT_SIZES[kind]
    blocks = generator.integers(0, 256, (rows * columns // elements, size), dtype=np.uint8)
    for offset, value in SCALES.get(kind.name, {}).items():
        scales = (value * (1 + spread * generator.standard_normal(len(blocks)))).astype(np.float16)
        blocks[:, offset : offset + 2] = scales.view(np.uint8).reshape(-1, 2)
    if kind.name == "MXFP4":
        blocks[:, 0] = generator.integers(118, 128, len(blocks))
    return blocks.reshape(rows, -1)


def block_tensors(generator: np.random.Generator) -> dict[str, np.ndarray]:
    tensors = {name: generator.standard_normal((ROWS, COLUMNS)).astype(np.float32) for name in PLAIN}
    tensors["F16"] = tensors["F16"].astype(np.float16)
    tensors["BF16"] = torch.from_numpy(tensors["BF16"]).bfloat16().view(torch.int16).numpy().view(np.uint8)
    for name in (*SCALES, "MXFP4"):
        tensors[name] = random_blocks(GGMLQuantizationType[name], ROWS, COLUMNS, generator, spread=2.0)
    tensors["MXFP4"].reshape(-1, 17)[:3, 0] = (0, 1, 254)
    return tensors


def write_file(path, tensors: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(path, "llama")
    for name, data in tensors.items():
        writer.add_tensor(name, data, raw_dtype=GGMLQuantizationType[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    generator = np.random.default_rng(280)
    tensors = block_tensors(generator)
    write_file(FOLDER / "blocks.gguf", tensors)
    with np.errstate(over="ignore"):
        values = {name: dequantize(data, GGMLQuantizationType[name]).astype(np.float32) for name, data in tensors.items()}
    save({name: torch.from_numpy(array) for name, array in values.items()}, FOLDER / "expected.safetensors")
    for name in REFUSED:
        kind = GGMLQuantizationType[name]
        write_file(FOLDER / f"refused_{name.lower()}.gguf", {name: random_blocks(kind, 1, GGML_QUANT_SIZES[kind][0], generator)})
    write_versions(FOLDER, "gguf", "numpy")
    print_size(FOLDER)


if __name__ == "__main__":
    main()
