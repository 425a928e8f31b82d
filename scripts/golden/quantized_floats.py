"""Writes tests/data/quantized/fp8, hqq and mxfp4.

fp8/blocks128    fine-grained FP8 as transformers writes and reads it (see quantized_llama.py): blocks of 128 x 128. transformers
                 itself leaves weights float whose shape is no multiple of the block; released checkpoints have them, so those
                 are padded with zeros, given to transformers' own functions, and cut
fp8/ue8m0        blocks of 32 x 32 whose scales are powers of two: F8_E8M0, in k_proj the same bytes as U8
hqq/4bit, …      HQQLinear's own state_dict(); transformers 4 wrote these folders, 5.23 does not read HQQ
mxfp4            blocks.safetensors: the blocks and scales of gpt-oss' experts, every code and extreme scales; expected.safetensors: what
                 transformers' convert_moe_packed_tensors makes of them, [experts, in, out], float32 and (`<key>.bfloat16`) bfloat16

Needs hqq (requirements_packers.txt).
"""

import copy

import quantized_llama
import torch
from hqq.core.quantize import BaseQuantizeConfig, HQQLinear
from llama_reference import be_quiet, one_thread
from quantized import QUANTIZED, print_size, require, save, write_versions
from quantized_llama import Packed, float_model, write_packed
from transformers import FineGrainedFP8Config, HqqConfig
from transformers.integrations.finegrained_fp8 import Fp8Dequantize, Fp8Quantize
from transformers.integrations.mxfp4 import convert_moe_packed_tensors


class Quantizer:
    """The part of transformers' quantizer that its conversions look at."""

    def __init__(self, config: FineGrainedFP8Config):
        self.quantization_config = config


def pack_fp8(name: str, module: torch.nn.Linear, config: FineGrainedFP8Config) -> Packed:
    rows, columns = module.weight.shape
    height, width = config.weight_block_size
    padded = torch.nn.functional.pad(module.weight.detach(), (0, -columns % width, 0, -rows % height))
    made = Fp8Quantize(Quantizer(config))._quantize_one("weight", padded)
    scales = made["weight_scale_inv"]
    if name.endswith("k_proj") and scales.element_size() == 1:
        scales = scales.view(torch.uint8)
    values = Fp8Dequantize(Quantizer(config))._dequantize_one(made["weight"], scales, torch.float32)[:rows, :columns].contiguous()
    require((values - module.weight.float()).abs().max() < 0.1, f"{name}: transformers reads back other values")
    return {"weight": made["weight"][:rows, :columns].contiguous(), "weight_scale_inv": scales}, values


def write_fp8(name: str, block: tuple[int, int], seed: int, scale_fmt: str | None, **changes) -> None:
    config = FineGrainedFP8Config(weight_block_size=block, modules_to_not_convert=["lm_head"], scale_fmt=scale_fmt or "float")
    written = config.to_dict()
    write_packed(QUANTIZED / "fp8" / name, float_model(seed, torch.bfloat16, **changes),
                 lambda module, linear: pack_fp8(module, linear, config), written)  # fmt: skip


def pack_hqq(module: torch.nn.Linear, settings: dict) -> Packed:
    bare = copy.deepcopy(module)
    bare.bias = None
    layer = HQQLinear(bare, BaseQuantizeConfig(**settings), compute_dtype=torch.float16, device="cpu", initialize=True)
    values = layer.dequantize()
    return {key: value for key, value in layer.state_dict().items()}, values


def write_hqq(name: str, seed: int, **settings) -> None:
    config = HqqConfig(nbits=settings["nbits"], group_size=settings["group_size"], axis=settings["axis"], skip_modules=["lm_head"])
    write_packed(QUANTIZED / "hqq" / name, float_model(seed, torch.float16, attention_bias=True),
                 lambda _, module: pack_hqq(module, settings), config.to_dict())  # fmt: skip


def write_mxfp4() -> None:
    generator = torch.Generator().manual_seed(270)
    shapes = {"gate_up_proj": (2, 24, 2), "down_proj": (2, 64, 1)}  # experts, rows, groups of 32 elements
    tensors, expected = {}, {}
    for name, shape in shapes.items():
        blocks = torch.randint(0, 256, (*shape, 16), generator=generator, dtype=torch.uint8)
        scales = torch.randint(118, 132, shape, generator=generator, dtype=torch.uint8)
        scales[0, 0], scales[0, 1], scales[0, 2], scales[1, 0] = 0, 1, 254, 127
        tensors |= {f"model.layers.0.mlp.experts.{name}_blocks": blocks, f"model.layers.0.mlp.experts.{name}_scales": scales}
        for dtype, suffix in ((torch.float32, ""), (torch.bfloat16, ".bfloat16")):
            values = convert_moe_packed_tensors(blocks.clone(), scales.clone(), dtype=dtype)
            expected[f"model.layers.0.mlp.experts.{name}{suffix}"] = values
    save(tensors, QUANTIZED / "mxfp4" / "blocks.safetensors")
    save(expected, QUANTIZED / "mxfp4" / "expected.safetensors")
    write_versions(QUANTIZED / "mxfp4", "transformers")
    print_size(QUANTIZED / "mxfp4")


def main() -> None:
    be_quiet()
    quantized_llama.KEPT = ("k_proj",)
    write_fp8("blocks128", (128, 128), 260, None, hidden_size=128, intermediate_size=136, num_key_value_heads=1)
    quantized_llama.KEPT = ("k_proj", "down_proj")
    write_fp8("ue8m0", (32, 32), 261, "ue8m0", intermediate_size=72)
    write_versions(QUANTIZED / "fp8", "transformers")
    write_hqq("4bit", 262, nbits=4, group_size=64, axis=1)
    write_versions(QUANTIZED / "hqq", "transformers", "hqq")
    write_mxfp4()


if __name__ == "__main__":
    with one_thread():
        main()
