"""Converts adapters with lora-convert --to gguf and reads the files back with PyPI's gguf: header, keys, ggml's own names,
and that base weights reordered as llama.cpp's converter does, plus alpha / rank · B A, are PEFT's merged weights reordered.

    python gguf_read_back.py --lora-convert BIN --data tests/data

Exit status: 0 equal within the tolerances, 1 not.
"""

import argparse
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import gguf
import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

# Grouped heads; rsLoRA on all modules; other ranks and alphas; rsLoRA with other ranks, each with another relative tolerance.
CASES = {"gqa": 1e-6, "tied": 1e-6, "llama3": 1e-6, "dynamic": 1e-6}
DTYPES = {"float32": 1.0, "bfloat16": 2**13, "float16": 2**10}  # how much coarser than float32


def converter_order(weight, heads):
    """llama.cpp's converter on the rows of q_proj and k_proj (LlamaModel.permute)."""
    rows = weight.shape[0]
    return weight.reshape(heads, 2, rows // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def fail_unless(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")


def field(reader, key):
    return reader.get_field(key).contents()


def values(tensor):
    data = tensor.data
    if tensor.tensor_type == gguf.GGMLQuantizationType.BF16:
        data = gguf.quants.dequantize(data, tensor.tensor_type)
    return np.asarray(data, dtype=np.float64)


def merged_weights(case):
    base = AutoModelForCausalLM.from_pretrained(case / "model", dtype=torch.float32)
    before = {name: tensor.clone().numpy() for name, tensor in base.state_dict().items()}
    merged = PeftModel.from_pretrained(base, case / "adapter").merge_and_unload()
    return before, {name: tensor.numpy() for name, tensor in merged.state_dict().items()}, base.config


def check_header(reader):
    fail_unless(field(reader, "GGUF.version") == 3, "version")
    fail_unless(reader.alignment == 32 and reader.data_offset % 32 == 0, "alignment")
    fail_unless(field(reader, gguf.Keys.General.ARCHITECTURE) == "llama", "general.architecture")
    fail_unless(field(reader, gguf.Keys.General.TYPE) == gguf.GGUFType.ADAPTER, "general.type")
    fail_unless(field(reader, gguf.Keys.Adapter.TYPE) == "lora", "adapter.type")


def compare(case, file, dtype, tolerance):
    reader = gguf.GGUFReader(file)
    check_header(reader)
    alpha = field(reader, gguf.Keys.Adapter.LORA_ALPHA)
    before, merged, config = merged_weights(case)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    worst = 0.0
    changed = [name for name in before if not np.array_equal(before[name], merged[name]) and name != "lm_head.weight"]
    for name in changed:
        module = name.removesuffix(".weight")
        ggml = names.get_name(module) + ".weight"
        a, b = values(tensors.pop(ggml + ".lora_a")), values(tensors.pop(ggml + ".lora_b"))
        ordered = [
            converter_order(w[name].astype(np.float64), heads[module.split(".")[-1]]) if module.split(".")[-1] in heads else w[name]
            for w in (before, merged)
        ]
        found = ordered[0] + alpha / b.shape[1] * b @ a
        worst = max(worst, np.abs(found - ordered[1]).max() / np.abs(ordered[1]).max())
    fail_unless(not tensors, f"tensors of no module: {sorted(tensors)}")
    fail_unless(changed, "no module has changed")
    print(f"{case.name:8} {dtype:8} alpha {alpha:<12g} {len(changed):2} modules, largest relative difference {worst:.1e}")
    fail_unless(worst <= tolerance, f"{case.name} {dtype}: {worst} exceeds {tolerance}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lora-convert", required=True)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for name, tolerance in CASES.items():
            case = arguments.data / "llama" / name
            for dtype, coarser in DTYPES.items():
                file = Path(folder) / f"{name}-{dtype}.gguf"
                subprocess.run(
                    [arguments.lora_convert, "--adapter", case / "adapter", "--model", case / "model", "--to", "gguf",
                     "--dtype", dtype, "--output", file], check=True, stdout=subprocess.DEVNULL)  # fmt: skip
                compare(case, file, dtype, tolerance * coarser)


if __name__ == "__main__":
    main()
