"""Writes tests/data/combine: three adapters, and in expected.safetensors the results of PEFT's add_weighted_adapter:
<case>/<module>.A and .B, or <case>/<module>.product (B A) for the svd methods, whose signs are arbitrary. cases.json has the
arguments of each case. PEFT's result has lora_alpha = r, hence a scale of 1, but keeps use_rslora of the first adapter, which
makes the scale √r: it is ignored here, and is off in the adapters that lora-merge writes.

The dare methods: `add_weighted_adapter` initialises its result from torch's global generator before it draws its masks, so a
seed set before the call does not determine them. Here each module draws from the seed that lora-merge gives it, a function of
(--seed, module); PEFT's own code uses the numbers.
"""

import shutil
from pathlib import Path

import torch
from llama_cases import lora, write_json
from llama_golden import versions
from llama_reference import be_quiet, one_thread
from merge import TESTS, load_untied, write_adapter
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file

DATA = TESTS / "combine"
BASE = "dynamic"
SEED = 7
ADAPTERS = {
    "a": lora(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "o_proj"]),
    "b": lora(r=4, lora_alpha=3, target_modules=["v_proj", "o_proj", "down_proj"], use_rslora=True),
    "c": lora(r=2, lora_alpha=5, target_modules=["q_proj", "v_proj"], rank_pattern={"v_proj": 6}, alpha_pattern={"q_proj": 1}),
}  # fmt: skip


def case(method: str, adapters: str, weights: list[float], **arguments) -> dict:
    return {"combination_type": method, "adapters": list(adapters), "weights": weights} | arguments


CASES = {
    "one": case("linear", "b", [-0.6]),
    "linear": case("linear", "ab", [0.7, -1.3]),
    "cat": case("cat", "abc", [0.7, -1.3, 0.4]),
    "svd": case("svd", "abc", [0.7, -1.3, 0.4]),
    "svd_cut": case("svd", "abc", [1.0, 1.0, 2.0], svd_rank=3),
    "ties": case("ties", "ab", [1.0, 0.5], density=0.4),
    "ties_frequency": case("ties", "aba", [1.0, 0.5, -0.3], density=0.6, majority_sign_method="frequency"),
    "ties_svd": case("ties_svd", "abc", [1.0, 0.5, 0.8], density=0.3),
    "dare_linear": case("dare_linear", "ab", [1.0, 0.5], density=0.5),
    "dare_ties": case("dare_ties", "ab", [-1.0, 0.5], density=0.7),
    "dare_linear_svd": case("dare_linear_svd", "bc", [1.0, 0.5], density=0.5, svd_rank=5),
    "dare_ties_svd": case("dare_ties_svd", "abc", [1.0, 0.5, 1.0], density=0.7, majority_sign_method="frequency"),
    "magnitude_prune": case("magnitude_prune", "ab", [1.0, -0.5], density=0.5),
    "magnitude_prune_svd": case("magnitude_prune_svd", "ac", [1.0, 0.5], density=0.25),
}  # fmt: skip

MASK = (1 << 64) - 1


def mix64(x: int) -> int:
    """SplitMix64's finaliser, as in include/lora/base/random.h."""
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def hash_name(name: str) -> int:
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return mix64(value)


def seed_of(module: str) -> int:
    return mix64(SEED ^ mix64(hash_name(module)))


def seeded(method, names: dict[int, str]):
    """A method that combines one module, with the module's seed set before it draws."""

    def call(*arguments, **others):
        targets = [value for value in (*arguments, *others.values()) if isinstance(value, LoraLayer)]
        torch.manual_seed(seed_of(names[id(targets[0])]))
        return method(*arguments, **others)

    return call


def load_adapters() -> tuple[PeftModel, dict[int, str]]:
    first, *others = ADAPTERS
    model = PeftModel.from_pretrained(load_untied(BASE), DATA / first, adapter_name=first)
    for name in others:
        model.load_adapter(DATA / name, adapter_name=name)
    prefix = "base_model.model."
    names = {id(module): name.removeprefix(prefix) for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    return model, names


def combine(name: str, arguments: dict) -> dict[str, torch.Tensor]:
    model, names = load_adapters()
    tuner = model.base_model
    for method in ("_generalized_task_arithmetic_weighted_adapter", "_svd_generalized_task_arithmetic_weighted_adapter"):
        setattr(tuner, method, seeded(getattr(tuner, method), names))
    model.add_weighted_adapter(**arguments, adapter_name="combined")
    tensors = {}
    for module in model.modules():
        if not isinstance(module, LoraLayer) or "combined" not in module.lora_A:
            continue
        A, B = module.lora_A["combined"].weight, module.lora_B["combined"].weight
        key = f"{name}/{names[id(module)]}"
        if arguments["combination_type"].endswith("svd"):
            tensors[f"{key}.product"] = B @ A
        else:
            tensors |= {f"{key}.A": A, f"{key}.B": B}
    return {key: tensor.detach().clone().contiguous() for key, tensor in tensors.items()}


def main() -> None:
    be_quiet()
    shutil.rmtree(DATA, ignore_errors=True)
    with one_thread():
        for i, (name, adapter) in enumerate(ADAPTERS.items()):
            write_adapter(load_untied(BASE), adapter, DATA / name, 300 + i)
        tensors = {}
        for name, arguments in CASES.items():
            tensors |= combine(name, arguments)
    save_file(tensors, DATA / "expected.safetensors", metadata={"format": "pt"})
    write_json(DATA / "cases.json", {"seed": SEED, "cases": CASES})
    write_json(DATA / "VERSIONS.json", versions())
    print(f"{len(tensors)} tensors, {(DATA / 'expected.safetensors').stat().st_size >> 10} KiB")


if __name__ == "__main__":
    main()
