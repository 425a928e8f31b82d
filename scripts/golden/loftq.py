"""Writes tests/data/quantized/loftq: what LoftQ's adapter gives at its start, by the formula, on bases that bitsandbytes quantised.

cases.json              by case: the float base (relative to tests/data), model.quantization, r and lora_alpha
<case>.safetensors      `<module>.weight`: the best approximation of rank r of W - dequantised(W), float32 [out, in], for some modules

PEFT's own LoftQ is not the reference: it quantises without the base's settings, does not divide by the scale, and replaces the base
(peft #1982). The sum of base and adapter is what must be near W, so the product B A times the scale is compared, which also does not
depend on the signs of singular vectors. The errors are computed in float32 and decomposed in float64 by numpy.
"""

import shutil
from pathlib import Path

import numpy
import torch
from bitsandbytes.nn import Linear8bitLt
from bitsandbytes_blocks import dequantized, int8_values
from llama_reference import be_quiet, one_thread
from quantized import QUANTIZED, print_size, require, save, write_versions
from quantized_base import load_quantized
from small_adapters import DATA, write_json
from transformers import AutoModelForCausalLM

FOLDER = QUANTIZED / "loftq"
BASE = "quantized/training/nf4/model"
MODULES = ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj")
CASES = {
    "nf4": dict(base=BASE, quantization=dict(type="nf4"), r=4, lora_alpha=12),
    "nf4_dq": dict(base=BASE, quantization=dict(type="nf4", double_quant=True), r=3, lora_alpha=3),
    "int8": dict(base=BASE, quantization=dict(type="int8"), r=2, lora_alpha=1),
}


def best_of_rank(matrix: torch.Tensor, rank: int) -> torch.Tensor:
    left, values, right = numpy.linalg.svd(matrix.double().numpy(), full_matrices=False)
    require(values[rank - 1] > 1.001 * values[rank], "the rank does not determine the approximation")
    return torch.from_numpy((left[:, :rank] * values[:rank]) @ right[:rank]).float()


def corrections(case: dict) -> dict[str, torch.Tensor]:
    plain = AutoModelForCausalLM.from_pretrained(DATA / case["base"], dtype=torch.float32)
    packed = load_quantized(DATA / case["base"], case["quantization"])
    found = {}
    for name in MODULES:
        module = packed.get_submodule(name)
        is_int8 = isinstance(module, Linear8bitLt)
        values = int8_values(module) if is_int8 else dequantized(module.weight.data, module.weight.quant_state)
        error = plain.get_submodule(name).weight.detach() - values.float()
        found[f"{name}.weight"] = best_of_rank(error, case["r"])
    return found


def main() -> None:
    be_quiet()
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name, case in CASES.items():
        save(corrections(case), Path(FOLDER) / f"{name}.safetensors")
    write_json(FOLDER / "cases.json", CASES)
    write_versions(FOLDER, "bitsandbytes", "transformers", "numpy")
    print_size(FOLDER)


if __name__ == "__main__":
    with one_thread():
        main()
