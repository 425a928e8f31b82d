"""A base that transformers quantises with bitsandbytes while it loads, as the section model.quantization of a run.json asks for."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

# what transformers leaves float by itself; a list of one's own replaces it
ALWAYS_FLOAT = ["lm_head"]


def bitsandbytes_config(quantization: dict) -> BitsAndBytesConfig:
    """`quantization`: {"type": nf4 | fp4 | int8, "double_quant", "skip_modules"}; blocks have 64 elements."""
    if quantization.get("block_size", 64) != 64:
        raise ValueError(f"block_size: found {quantization['block_size']}, expected 64, the only one that transformers has")
    skipped = quantization.get("skip_modules")
    skipped = None if skipped is None else ALWAYS_FLOAT + skipped
    if quantization["type"] == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skipped)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type=quantization["type"], bnb_4bit_compute_dtype=torch.float32,
        bnb_4bit_use_double_quant=quantization.get("double_quant", False), llm_int8_skip_modules=skipped)  # fmt: skip


def load_quantized(folder: Path, quantization: dict, attention: str = "eager") -> torch.nn.Module:
    """The frozen model in training mode: on CPUs bitsandbytes computes something else in evaluation mode."""
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention, quantization_config=bitsandbytes_config(quantization))  # fmt: skip
    return model.train()
