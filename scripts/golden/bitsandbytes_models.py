"""Writes tests/data/quantized/bitsandbytes_models: whole folders that transformers + bitsandbytes saved, with save_pretrained.

<case>/config.json, model.safetensors    as transformers wrote them
<case>/expected.safetensors              `input_ids` [T] and `logits` [T, vocab], computed in training mode with float32 activations from
                                         the saved folder, and `<module>.weight`: dequantised weights of the first layer, float32
cases.json                               the float base of each (relative to tests/data), the dtype in which it was loaded to be
                                         quantised, and model.quantization of the equal run.json
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import bitsandbytes.functional as bnb_functional
import torch
from bitsandbytes.nn import Int8Params, Linear4bit, Linear8bitLt, Params4bit
from bitsandbytes_blocks import dequantized, int8_values
from llama_reference import be_quiet, one_thread
from quantized import FLOAT_TYPES, QUANTIZED, print_size, require, save, write_versions
from quantized_base import bitsandbytes_config
from small_adapters import DATA, write_json
from transformers import AutoModelForCausalLM

FOLDER = QUANTIZED / "bitsandbytes_models"


@dataclass
class Case:
    base: str  # a float folder below tests/data
    quantization: dict
    dtype: str = "float32"  # of the weights when they are quantised, and of what stays float
    storage: str = "uint8"
    changes: dict = field(default_factory=dict)  # of the base's config.json


LLAMA = "quantized/training/nf4_dq/model"
KEPT = ("0.self_attn.v_proj.weight", "0.mlp.down_proj.weight", "0.mlp.c_proj.weight")
NO_DROPOUT = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
CASES = {
    "nf4": Case(LLAMA, dict(type="nf4")),
    "nf4_dq": Case(LLAMA, dict(type="nf4", double_quant=True, skip_modules=["up_proj"]), dtype="bfloat16"),
    "fp4": Case(LLAMA, dict(type="fp4"), dtype="float16", storage="bfloat16"),
    "int8": Case(LLAMA, dict(type="int8")),
    # Conv1D: the transposed weights are quantised
    "gpt2": Case("families/gpt2/model", dict(type="nf4"), changes=NO_DROPOUT),
}


def save_folder(case: Case, folder: Path) -> None:
    config = bitsandbytes_config(case.quantization)
    config.bnb_4bit_quant_storage = getattr(torch, case.storage)
    model = AutoModelForCausalLM.from_pretrained(
        DATA / case.base, dtype=FLOAT_TYPES[case.dtype], quantization_config=config, **case.changes)  # fmt: skip
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)


def weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    weights = {}
    for name, module in model.named_modules():
        if isinstance(module, Linear8bitLt):
            weights[f"{name}.weight"] = int8_values(module)
        elif isinstance(module, Linear4bit):
            values = dequantized(module.weight.data, module.weight.quant_state)
            own = bnb_functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
            require(torch.equal(own, values), f"{name}: bitsandbytes dequantises to other values")
            weights[f"{name}.weight"] = values.float()
    return {key: weights[key] for key in weights if key.endswith(KEPT)}


@torch.no_grad()
def expected_of(folder: Path, seed: int) -> dict[str, torch.Tensor]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").train()
    for parameter in model.parameters():  # of a packed folder transformers keeps the file's dtypes
        if not isinstance(parameter, (Params4bit, Int8Params)):
            parameter.data = parameter.data.float()
    ids = torch.randint(0, model.config.vocab_size, (17,), generator=torch.Generator().manual_seed(seed))
    weights = weights_of(model)
    logits = model(input_ids=ids.unsqueeze(0), use_cache=False).logits[0]
    return {"input_ids": ids, "logits": logits} | weights


def main() -> None:
    be_quiet()
    shutil.rmtree(FOLDER, ignore_errors=True)
    for i, (name, case) in enumerate(CASES.items()):
        save_folder(case, FOLDER / name)
        save(expected_of(FOLDER / name, 60 + i), FOLDER / name / "expected.safetensors")
        print_size(FOLDER / name)
    written = {name: {"base": case.base, "dtype": case.dtype, "quantization": case.quantization, "quant_storage": case.storage}
               for name, case in CASES.items()}  # fmt: skip
    write_json(FOLDER / "cases.json", written)
    write_versions(FOLDER, "bitsandbytes", "transformers")


if __name__ == "__main__":
    with one_thread():
        main()
