"""Writes tests/data/quantized/merge: one adapter in the folders of tests/data/quantized/bitsandbytes_models.

<case>/merged/weights.safetensors        `<module>.weight` of KEPT: bitsandbytes' dequantised weight plus PEFT's update, float32
<case>/requantized/weights.safetensors   every tensor of the folder that transformers saves after PEFT has merged into the packed weights. The
                                         cases are those with float32 weights, because PEFT gives every merged weight that dtype
VERSIONS.json
"""

import shutil
import tempfile
from pathlib import Path

import torch
from bitsandbytes_blocks import dequantized, int8_values
from bitsandbytes.nn import Linear8bitLt
from bitsandbytes_models import CASES as BASES
from llama_reference import be_quiet, one_thread
from peft import PeftModel
from quantized import FLOAT_TYPES, QUANTIZED, print_size, save, write_versions
from quantized_base import bitsandbytes_config
from safetensors.torch import load_file
from small_adapters import DATA
from transformers import AutoModelForCausalLM

FOLDER = QUANTIZED / "merge"
ADAPTER = "quantized/training/nf4_dq/adapter"
CASES = {"nf4": True, "int8": True, "nf4_dq": False, "fp4": False}  # whether PEFT's own merge is kept
KEPT = ("self_attn.v_proj", "mlp.down_proj")


def values(layer) -> torch.Tensor:
    return int8_values(layer) if isinstance(layer, Linear8bitLt) else dequantized(layer.weight.data, layer.weight.quant_state)


@torch.no_grad()
def merged_weights(model: PeftModel) -> dict[str, torch.Tensor]:
    weights = {}
    for name, module in model.base_model.model.named_modules():
        if name.endswith(KEPT) and hasattr(module, "lora_A"):
            weights[f"{name}.weight"] = values(module.base_layer).float() + module.get_delta_weight("default").float()
    return weights


def main() -> None:
    be_quiet()
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name, keeps_merge in CASES.items():
        # Quantised anew, because transformers cannot save a model that it has loaded packed. On CPUs bitsandbytes changes its weights in
        # evaluation mode.
        case = BASES[name]
        base = AutoModelForCausalLM.from_pretrained(
            DATA / case.base, dtype=FLOAT_TYPES[case.dtype], quantization_config=bitsandbytes_config(case.quantization)).train()  # fmt: skip
        model = PeftModel.from_pretrained(base, DATA / ADAPTER).train()
        save(merged_weights(model), FOLDER / name / "merged/weights.safetensors")
        if keeps_merge:
            with tempfile.TemporaryDirectory() as folder:
                model.merge_and_unload().save_pretrained(folder)
                save(load_file(Path(folder) / "model.safetensors"), FOLDER / name / "requantized/weights.safetensors")
        print_size(FOLDER / name)
    write_versions(FOLDER, "bitsandbytes", "transformers", "peft")


if __name__ == "__main__":
    with one_thread():
        main()
