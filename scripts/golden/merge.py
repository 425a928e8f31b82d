"""Writes tests/data/merge: adapters of every kind on the bases of tests/data/llama and tests/data/families, and the weights
after PEFT's merge_and_unload: expected.safetensors has those that change, in the base's dtype.

Where PEFT's in-place merge would be wrong (a tied head), the base is untied first, as PEFT advises; an adapter's weight is
given by PEFT's set_scale. case.json names the base, the adapters and their weights (paths relative to tests/data).
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch
from family_cases import FAMILY_CASES
from llama_cases import lora, write_json
from llama_golden import folder_of, versions
from llama_reference import be_quiet, one_thread
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

TESTS = Path(__file__).resolve().parents[2] / "tests" / "data"
DATA = TESTS / "merge"


@dataclass
class Case:
    base: str  # a case of tests/data/llama or tests/data/families
    adapters: list[str | dict]  # a folder below tests/data, or a LoraConfig to write one from
    weights: list[float] = field(default_factory=list)  # none: 1 for each
    dtype: str = "auto"  # dtype of the base when it is merged


CASES = {
    "plain": Case("gqa", ["llama/gqa/adapter"]),
    "rslora": Case("tied", ["llama/tied/adapter"]),
    "patterns": Case("dynamic", ["llama/dynamic/adapter"]),
    "bfloat16": Case("linear", ["llama/linear/adapter"]),
    "several": Case("gqa", ["llama/gqa/adapter", lora(r=3, lora_alpha=5, target_modules=["q_proj", "down_proj"])], [0.7, -1.5]),
    "dora": Case("odd", [lora(r=3, lora_alpha=5, use_dora=True, target_modules=["q_proj", "embed_tokens"])], [0.8]),
    "bias": Case("biases", [lora(lora_bias=True, target_modules=["k_proj", "down_proj"])], [1.25]),
    "embedding": Case("odd", [lora(r=2, lora_alpha=3, target_modules=["embed_tokens", "lm_head"])]),
    "head": Case("tied", [lora(r=2, lora_alpha=3, target_modules=["lm_head", "k_proj"])]),
    "tied_embedding": Case("tied", [lora(r=2, lora_alpha=3, target_modules=["embed_tokens"])]),
    "whole": Case("biases", [lora(bias="all", target_modules=["v_proj"], modules_to_save=["lm_head", "norm"])]),
    "tokens": Case("gqa", [lora(target_modules=["q_proj"], trainable_token_indices=[41, 3])]),
}  # fmt: skip
CASES |= {name: Case(name, [f"families/{name}/adapter"]) for name in FAMILY_CASES}


def load_untied(base: str, dtype: str = "auto") -> torch.nn.Module:
    model = AutoModelForCausalLM.from_pretrained(folder_of(base) / "model", dtype=dtype)
    if model.config.tie_word_embeddings:
        model.get_output_embeddings().weight = torch.nn.Parameter(model.get_input_embeddings().weight.detach().clone())
        model.config.tie_word_embeddings = False
    model.name_or_path = str(folder_of(base) / "model")  # PEFT reads it to see whether the vocabulary was changed
    return model


def write_adapter(base: torch.nn.Module, adapter: dict, folder: Path, seed: int) -> None:
    """PEFT's own files with large values in all trained tensors, without the model card and with sorted sets."""
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **adapter))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            noise = torch.randn(parameter.shape, generator=generator)
            lengths = "lora_magnitude_vector" in name
            parameter.data.copy_(parameter.data * (1 + 0.2 * noise) if lengths else 0.2 * noise)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    config = model.peft_config["default"].to_dict()
    config |= {"base_model_name_or_path": "model", "inference_mode": True, "peft_type": "LORA"}
    for key in ("target_modules", "exclude_modules", "modules_to_save"):
        if isinstance(config.get(key), (set, list)):
            config[key] = sorted(config[key])
    write_json(folder / "adapter_config.json", config)


def merged(case: Case, folders: list[Path]) -> dict[str, torch.Tensor]:
    base = load_untied(case.base, case.dtype)
    before = {name: tensor.detach().clone() for name, tensor in base.state_dict().items()}
    names = [str(i) for i in range(len(folders))]
    model = PeftModel.from_pretrained(base, folders[0], adapter_name=names[0])
    for name, folder in zip(names[1:], folders[1:]):
        model.load_adapter(folder, adapter_name=name)
    for name, weight in zip(names, case.weights):
        for module in model.modules():
            if isinstance(module, LoraLayer):
                module.set_scale(name, weight)
    model.base_model.set_adapter(names)
    after = model.merge_and_unload(adapter_names=names).state_dict()
    return {name: tensor.clone().contiguous() for name, tensor in after.items() if not torch.equal(tensor, before[name])}


def write_case(name: str, case: Case, seed: int) -> None:
    folder = DATA / name
    folders = []
    for i, adapter in enumerate(case.adapters):
        if isinstance(adapter, dict):
            write_adapter(load_untied(case.base), adapter, folder / f"adapter{i}", seed + i)
            adapter = f"merge/{name}/adapter{i}"
        folders.append(TESTS / adapter)
    tensors = merged(case, folders)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "expected.safetensors", metadata={"format": "pt"})
    adapters = [str(path.relative_to(TESTS)) for path in folders]
    base = str((folder_of(case.base) / "model").relative_to(TESTS))
    write_json(folder / "case.json", {"base": base, "adapters": adapters, "weights": case.weights})
    print(f"{name}: {len(tensors)} tensors, {sum(f.stat().st_size for f in folder.rglob('*') if f.is_file()) >> 10} KiB")


def main() -> None:
    be_quiet()
    shutil.rmtree(DATA, ignore_errors=True)
    with one_thread():
        for i, (name, case) in enumerate(CASES.items()):
            write_case(name, case, 100 + 10 * i)
    write_json(DATA / "VERSIONS.json", versions())


if __name__ == "__main__":
    main()
