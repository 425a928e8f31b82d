#!/usr/bin/env python3
"""Writes tests/data/convert: the results of PEFT and torch for what lora-convert and lora-inspect compute.

dora/            a DoRA adapter with other ranks and alphas for some modules, for the model of tests/data/llama/gqa
expected.safetensors
    merged/<module>    the model's weights with dora/ merged by PEFT (merge_and_unload)
    resized/<module>   scale · B A of tests/data/llama/llama3/adapter cut to rank 2 by PEFT (add_weighted_adapter, "svd")
expected.json
    baked    dora/ as plain LoRA of rank RANK: norm of each module's change and the smallest error at that rank (float64)
    figures  of tests/data/llama/llama3/adapter: norms, singular values and effective rank of each module (float64)
    versions

Needs torch, transformers, peft and safetensors:
    python scripts/golden/convert.py
"""

import json
from pathlib import Path

import peft
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

DATA = Path(__file__).resolve().parents[2] / "tests" / "data"
OUTPUT = DATA / "convert"
RANK = 5
RESIZED = 2


def load_model(case):
    return AutoModelForCausalLM.from_pretrained(DATA / "llama" / case / "model", dtype=torch.float32)


def adapted_modules(model):
    prefix = "base_model.model."
    return {name.removeprefix(prefix): module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


def make_dora(generator):
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=3,
        lora_alpha=6,
        use_dora=True,
        target_modules=["q_proj", "k_proj", "down_proj"],
        rank_pattern={"k_proj": 2},
        alpha_pattern={"layers.1.mlp.down_proj": 9},
    )
    model = get_peft_model(load_model("gqa"), config)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            noise = torch.randn(parameter.shape, generator=generator)
            is_magnitude = "magnitude" in name
            parameter.data = parameter.data * (1 + 0.1 * noise) if is_magnitude else 0.2 * noise
    model.peft_config["default"].base_model_name_or_path = "gqa"
    model.save_pretrained(OUTPUT / "dora")
    (OUTPUT / "dora" / "README.md").unlink()


def expected_of_dora(tensors):
    model = PeftModel.from_pretrained(load_model("gqa"), OUTPUT / "dora")
    modules = list(adapted_modules(model))
    base = load_model("gqa").state_dict()
    merged = model.merge_and_unload().state_dict()
    baked = {}
    for module in modules:
        weight = merged[f"{module}.weight"]
        tensors[f"merged/{module}"] = weight.clone()
        values = torch.linalg.svdvals(weight.double() - base[f"{module}.weight"].double())
        baked[module] = {"norm": values.norm().item(), "error": values[RANK:].norm().item()}
    return baked


def expected_of_resize(tensors):
    model = PeftModel.from_pretrained(load_model("llama3"), DATA / "llama" / "llama3" / "adapter")
    # The adapter twice, with half its weight each: given a single adapter, PEFT keeps its rank.
    model.add_weighted_adapter(["default"] * 2, [0.5, 0.5], "cut", combination_type="svd", svd_rank=RESIZED)
    for module, layer in adapted_modules(model).items():
        tensors[f"resized/{module}"] = layer.get_delta_weight("cut").detach().clone()


def figures():
    model = PeftModel.from_pretrained(load_model("llama3"), DATA / "llama" / "llama3" / "adapter")
    result = {}
    for module, layer in adapted_modules(model).items():
        a = layer.lora_A["default"].weight.detach().double()
        b = layer.lora_B["default"].weight.detach().double()
        values = torch.linalg.svdvals(b @ a)[: a.shape[0]]
        shares = values / values.sum()
        result[module] = {
            "scale": layer.scaling["default"],
            "norm_A": a.norm().item(),
            "norm_B": b.norm().item(),
            "norm_BA": (b @ a).norm().item(),
            "singular_values": values.tolist(),
            "effective_rank": torch.exp(-(shares * shares.log()).sum()).item(),
        }
    return result


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    make_dora(torch.Generator().manual_seed(5))
    tensors = {}
    expected = {"rank": RANK, "resized": RESIZED, "baked": expected_of_dora(tensors), "figures": figures()}
    expected_of_resize(tensors)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    save_file(tensors, OUTPUT / "expected.safetensors", versions)
    (OUTPUT / "expected.json").write_text(json.dumps(expected | {"versions": versions}, indent=1) + "\n")
    print(f"{len(tensors)} tensors in {OUTPUT}")


if __name__ == "__main__":
    main()
