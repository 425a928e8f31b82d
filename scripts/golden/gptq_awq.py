"""Writes tests/data/quantized/gptq and awq: a tiny Llama packed by gptqmodel's and autoawq's own code (see quantized_llama.py).

The codes are rounded to nearest: the rounding that needs calibration data does not affect how they are stored. In `desc_act` some zero
points are 0, for which version 1 of the format borrows from the neighbouring fields of the word; gptqmodel's reader undoes that.
The cases of GPTQ are version 1 unless the name has v2. Needs gptqmodel and autoawq (requirements_packers.txt).
"""

import copy
from dataclasses import dataclass

import torch
from awq.modules.linear.gemm import WQLinear_GEMM
from awq.utils.packing_utils import dequantize_gemm
from gptqmodel.nn_modules.qlinear.torch import TorchLinear
from gptqmodel.quantization import FORMAT, QuantizeConfig
from gptqmodel.quantization.quantizer import Quantizer
from gptqmodel.utils.model import convert_gptq_v1_to_v2_format_module, convert_gptq_v2_to_v1_format_module
from llama_reference import be_quiet, one_thread
from quantized import QUANTIZED, require, write_versions
from quantized_llama import Packed, float_model, write_packed
from transformers import AwqConfig


@dataclass
class Case:
    bits: int
    group_size: int
    sym: bool
    desc_act: bool = False
    format: FORMAT = FORMAT.GPTQ
    bias: bool = False


GPTQ_CASES = {
    "2bit": Case(2, 16, sym=False),
    "3bit": Case(3, 32, sym=False),
    "4bit": Case(4, 32, sym=True, bias=True),
    "8bit": Case(8, -1, sym=False),  # one group
    "desc_act": Case(4, 16, sym=False, desc_act=True),
    "v2": Case(4, 32, sym=True, format=FORMAT.GPTQ_V2),
}


def groups_of(case: Case, columns: int, generator: torch.Generator) -> torch.Tensor:
    """The group of each input: consecutive ones, or with desc_act in an order of their own."""
    size = columns if case.group_size == -1 else case.group_size
    order = torch.randperm(columns, generator=generator) if case.desc_act else torch.arange(columns)
    groups = torch.empty(columns, dtype=torch.int32)
    groups[order] = (torch.arange(columns) // size).int()
    return groups


def scales_and_zeros(weight: torch.Tensor, groups: torch.Tensor, config: QuantizeConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Both [out, groups]."""
    found = []
    for group in range(int(groups.max()) + 1):
        quantizer = Quantizer(config)
        quantizer.configure(perchannel=True)
        quantizer.find_params(weight[:, groups == group], weight=True)
        found.append((quantizer.scale, quantizer.zero))
    return torch.cat([scale for scale, _ in found], dim=1), torch.cat([zero for _, zero in found], dim=1)


def gptq_layer(case: Case, module: torch.nn.Linear) -> TorchLinear:
    return TorchLinear(bits=case.bits, group_size=case.group_size, sym=case.sym, desc_act=case.desc_act, in_features=module.in_features,
                       out_features=module.out_features, bias=module.bias is not None, register_buffers=True)  # fmt: skip


def pack_gptq(case: Case, config: QuantizeConfig, module: torch.nn.Linear, generator: torch.Generator) -> Packed:
    weight = module.weight.detach().float()
    if case.desc_act:
        weight[::3] = weight[::3].abs()  # zero points of 0
    groups = groups_of(case, module.in_features, generator)
    scales, zeros = scales_and_zeros(weight, groups, config)
    source = copy.deepcopy(module).float()
    source.weight.data = weight
    layer = gptq_layer(case, module)
    layer.pack_original(source, scales, zeros, groups)
    layer.post_init()
    layer.qzero_format(format=2)
    values = layer.dequantize_weight().T.contiguous()
    if case.format == FORMAT.GPTQ:
        convert_gptq_v2_to_v1_format_module(layer, config)
    tensors = {key: value.clone() for key, value in layer.state_dict().items()}
    if case.format == FORMAT.GPTQ:
        convert_gptq_v1_to_v2_format_module(layer, case.bits, torch.int32)
        require(torch.equal(layer.dequantize_weight().T, values), "gptqmodel reads back other values")
    tensors.pop("bias", None)  # the model's own
    return tensors, values


def write_gptq(name: str, case: Case, seed: int) -> None:
    config = QuantizeConfig(bits=case.bits, group_size=case.group_size, sym=case.sym, desc_act=case.desc_act, format=case.format,
                            act_group_aware=False)  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    written = config.to_dict()
    written["meta"] |= {"offload_to_disk_path": None, "quantizer": ["gptqmodel:7.7.0"]}
    model = float_model(seed, torch.float16, attention_bias=case.bias, mlp_bias=case.bias)
    write_packed(QUANTIZED / "gptq" / name, model, lambda _, module: pack_gptq(case, config, module, generator), written)


def pack_awq(module: torch.nn.Linear, group_size: int) -> Packed:
    """AWQ's pseudo_quantize_tensor with zero points, then autoawq's layer."""
    weight = module.weight.detach().float()
    grouped = weight.view(weight.shape[0], -1, group_size)
    high, low = grouped.amax(2), grouped.amin(2)
    scales = (high - low).clamp(min=1e-5) / 15
    zeros = (-torch.round(low / scales)).clamp(0, 15)
    source = copy.deepcopy(module).float()
    source.weight.data = ((grouped / scales.unsqueeze(2)).round() + zeros.unsqueeze(2)).clamp(0, 15).sub(zeros.unsqueeze(2)).mul(
        scales.half().float().unsqueeze(2)).view_as(weight)  # fmt: skip
    layer = WQLinear_GEMM.from_linear(source, 4, group_size, scales=scales.half().float().T.contiguous(), zeros=zeros.T.contiguous())
    values = dequantize_gemm(layer.qweight, layer.qzeros, layer.scales, 4, group_size).T.contiguous()
    require((values.float() - source.weight.data).abs().max() < 1e-3, "autoawq reads back other values")
    return {"qweight": layer.qweight, "qzeros": layer.qzeros, "scales": layer.scales}, values


def write_awq(name: str, group_size: int, seed: int) -> None:
    config = AwqConfig(bits=4, group_size=group_size, zero_point=True, version="gemm").to_dict()
    written = {key: config.get(key) for key in ("bits", "group_size", "zero_point", "modules_to_not_convert", "quant_method")}
    write_packed(QUANTIZED / "awq" / name, float_model(seed, torch.float16, attention_bias=True),
                 lambda _, module: pack_awq(module, group_size), written | {"version": "gemm"})  # fmt: skip


def main() -> None:
    be_quiet()
    for i, (name, case) in enumerate(GPTQ_CASES.items()):
        write_gptq(name, case, 200 + i)
    write_versions(QUANTIZED / "gptq", "transformers", "gptqmodel")
    write_awq("gemm", 32, 220)
    write_versions(QUANTIZED / "awq", "transformers", "autoawq")


if __name__ == "__main__":
    with one_thread():
        main()
