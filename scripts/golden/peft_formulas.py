"""Expected numbers of PEFT's methods that change a projection by a formula: outputs, gradients and merged weights of single layers.

Writes tests/data/peft_formulas/formulas.safetensors. Its keys are <case>.<layer>.<what>: the layer's weight and bias, the input x, dy, the
method's tensors under their names in PEFT's file, the output y, the gradients dx and d:<tensor>, and the merged weight (and bias). Every
parameter has noise added, so that no part of a formula is zero or one. Shared tensors are <case>.shared.<tensor>, as PEFT draws them.

    python peft_formulas.py
"""

import os
import pathlib

os.environ["CUDA_VISIBLE_DEVICES"] = ""
import peft
import torch
from safetensors.torch import save_file
from transformers.pytorch_utils import Conv1D

OUT = pathlib.Path(__file__).parents[2] / "tests/data/peft_formulas"
LAYERS = {"wide": (12, 20, True), "tall": (16, 8, True), "plain": (12, 12, False)}  # inputs, outputs, bias
TOKENS = 5

CASES = {
    "ia3": lambda names: peft.IA3Config(target_modules=names, feedforward_modules=["tall"]),
    "vera": lambda names: peft.VeraConfig(target_modules=names, r=6, projection_prng_key=7),
    "loha": lambda names: peft.LoHaConfig(target_modules=names, r=3, alpha=5, rank_pattern={"tall": 2}, alpha_pattern={"plain": 7}),
    "adalora": lambda names: peft.AdaLoraConfig(target_modules=names, init_r=3, target_r=2, lora_alpha=5, total_step=9),
    "lokr": lambda names: peft.LoKrConfig(target_modules=names, r=1, alpha=3),
    "lokr_whole": lambda names: peft.LoKrConfig(target_modules=names, r=8, alpha=4, decompose_factor=4),
    "lokr_both": lambda names: peft.LoKrConfig(target_modules=names, r=1, alpha=3, decompose_both=True),
    "oft": lambda names: peft.OFTConfig(target_modules=names, oft_block_size=4),
    "oft_three_terms": lambda names: peft.OFTConfig(target_modules=names, oft_block_size=4, num_cayley_neumann_terms=3),
    "oft_seven_terms": lambda names: peft.OFTConfig(target_modules=names, oft_block_size=5, num_cayley_neumann_terms=7),
    "oft_exact": lambda names: peft.OFTConfig(target_modules=names, r=4, oft_block_size=0, use_cayley_neumann=False),
    "oft_shared": lambda names: peft.OFTConfig(target_modules=names, oft_block_size=4, block_share=True),
    "boft": lambda names: peft.BOFTConfig(target_modules=names, boft_block_size=4),
    "boft_number": lambda names: peft.BOFTConfig(target_modules=names, boft_block_size=0, boft_block_num=2),
    "hra": lambda names: peft.HRAConfig(target_modules=names, r=4),
    "hra_gs": lambda names: peft.HRAConfig(target_modules=names, r=4, apply_GS=True),
    "miss": lambda names: peft.MissConfig(target_modules=names, r=5),
    "miss_mini": lambda names: peft.MissConfig(target_modules=names, r=4, mini_r=2, init_weights="mini"),
    "miss_bat": lambda names: peft.MissConfig(target_modules=names, r=4, init_weights="bat"),
    "randlora": lambda names: peft.RandLoraConfig(target_modules=names, r=5, randlora_alpha=10, projection_prng_key=3),
}
CONV1D = {"ia3", "vera", "adalora", "randlora"}  # the methods that PEFT has for Conv1D
SHARED = {"vera": ("vera_A", "vera_B"), "randlora": ("randlora_A", "randlora_B")}


class Layers(torch.nn.Module):
    def __init__(self, with_conv1d):
        super().__init__()
        for name, (inputs, outputs, bias) in LAYERS.items():
            setattr(self, name, torch.nn.Linear(inputs, outputs, bias=bias))
        if with_conv1d:
            self.turned = Conv1D(20, 12)
            torch.nn.init.normal_(self.turned.weight, std=0.3)
            torch.nn.init.normal_(self.turned.bias)

    def forward(self, x):
        return x


def add_case(case, config_of, tensors):
    torch.manual_seed(1)
    base = Layers(case in CONV1D)
    names = [name for name, _ in base.named_children()]
    bases = {name: {key: value.detach().clone() for key, value in getattr(base, name).named_parameters()} for name in names}
    model = peft.get_peft_model(base, config_of(names))
    for name, shared in ((n, getattr(model.base_model, n)["default"]) for n in SHARED.get(case, ())):
        tensors[f"{case}.shared.{name}"] = shared.float()
    trained = {key: value for key, value in model.named_parameters() if value.requires_grad}
    for value in trained.values():
        value.data += 0.1 * torch.randn_like(value)
    for name in names:
        layer = getattr(model.base_model.model, name)
        inputs = bases[name]["weight"].shape[0 if name == "turned" else 1]
        x = torch.randn(TOKENS, inputs, requires_grad=True)
        y = layer(x)
        dy = torch.randn_like(y)
        y.backward(dy)
        prefix = f"{case}.{name}."
        tensors.update({prefix + "x": x, prefix + "y": y, prefix + "dy": dy, prefix + "dx": x.grad})
        tensors.update({prefix + key: value for key, value in bases[name].items()})
        for key, value in trained.items():
            if f".{name}." in key:
                part = key.split(f".{name}.")[1].replace(".default", "")
                tensors[prefix + "part." + part] = value
                tensors[prefix + "d:" + part] = value.grad
    model.merge_adapter()
    for name in names:
        merged = getattr(model.base_model.model, name).get_base_layer()
        tensors[f"{case}.{name}.merged_weight"] = merged.weight
        if merged.bias is not None:
            tensors[f"{case}.{name}.merged_bias"] = merged.bias


def main():
    torch.set_num_threads(1)
    tensors = {}
    for case, config_of in CASES.items():
        add_case(case, config_of, tensors)
    OUT.mkdir(parents=True, exist_ok=True)
    plain = {key: value.detach().float().contiguous().clone() for key, value in tensors.items()}
    save_file(plain, OUT / "formulas.safetensors", metadata={"peft": peft.__version__, "torch": torch.__version__})


if __name__ == "__main__":
    main()
