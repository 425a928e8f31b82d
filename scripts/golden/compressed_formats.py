"""Writes tests/data/quantized/compressed_tensors: a tiny Llama packed by compressed-tensors' own code (see quantized_llama.py; the expected
weights are bfloat16, the dtype of the scales).

    pack_quantized       a scheme for each kind of module: 3 to 8 bits, groups and channels, symmetric and not
    int_quantized        int8 by tensor, channel and group
    float_quantized      float8_e4m3fn by tensor, channel, group and in blocks with ragged edges
    actorder             groups in the order of the activations (weight_g_idx), which compressed-tensors wrote until 0.12.2

compressed-tensors 0.20.1 has no weight_g_idx any more: `actorder` is written only by the older version,

    pip install --no-deps --target OLD compressed-tensors==0.12.2 && PYTHONPATH=OLD python compressed_formats.py
"""


import compressed_tensors
import quantized_llama
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme, QuantizationStatus
from compressed_tensors.quantization.lifecycle.forward import dequantize, quantize
from compressed_tensors.quantization.utils import calculate_qparams
from llama_reference import be_quiet, one_thread
from quantized import QUANTIZED, require, write_versions
from quantized_llama import Packed, float_model, write_packed

FOLDER = QUANTIZED / "compressed_tensors"
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ACTIVATIONS = dict(num_bits=8, type="int", symmetric=True, strategy="token", dynamic=True)
BLOCK = dict(type="float", strategy="block", block_structure=[48, 40])

# format: the scheme of each of MODULES
CASES = {
    "pack_quantized": ("pack-quantized", [
        dict(num_bits=4, strategy="group", group_size=32), dict(num_bits=4, strategy="group", group_size=16, symmetric=False),
        dict(num_bits=6, strategy="channel"), dict(num_bits=8, strategy="channel", symmetric=False),
        dict(num_bits=3, strategy="group", group_size=32), dict(num_bits=3, strategy="channel", symmetric=False),
        dict(num_bits=8, strategy="group", group_size=48)]),
    "int_quantized": ("int-quantized", [
        dict(strategy="tensor"), dict(strategy="channel"), dict(strategy="channel", symmetric=False),
        dict(strategy="tensor", symmetric=False), dict(strategy="group", group_size=32),
        dict(strategy="group", group_size=16, symmetric=False), dict(strategy="channel")]),
    "float_quantized": ("float-quantized", [
        dict(type="float", strategy="tensor"), dict(type="float", strategy="channel"), BLOCK, BLOCK,
        dict(type="float", strategy="group", group_size=32), BLOCK, BLOCK]),
}  # fmt: skip
IN_ORDER = dict(num_bits=4, strategy="group", group_size=16, actorder="group")
ACTORDER = ("pack-quantized", [IN_ORDER | dict(symmetric=bool(i % 2)) for i in range(len(MODULES))])


def scheme_of(name: str, format: str, weights: dict) -> QuantizationScheme:
    activations = QuantizationArgs(**ACTIVATIONS | {"type": weights.get("type", "int")}) if format != "pack-quantized" else None
    return QuantizationScheme(targets=[f"re:.*{name}$"], weights=QuantizationArgs(**{"num_bits": 8} | weights), format=format,
                              input_activations=activations)  # fmt: skip


def parts_of(weight: torch.Tensor, args: QuantizationArgs, groups: torch.Tensor | None) -> torch.Tensor:
    """The weights that share a scale, in the last dimension; the others are the shape of the scale."""
    rows, columns = weight.shape
    if args.strategy == "tensor":
        return weight.reshape(1, -1)
    if args.strategy == "channel":
        return weight.unsqueeze(1)
    if args.strategy == "group":
        order = torch.arange(columns) if groups is None else groups.argsort(stable=True)
        return weight[:, order].view(rows, -1, args.group_size)
    height, width = args.block_structure
    padded = torch.nn.functional.pad(weight, (0, -columns % width, 0, -rows % height))
    return padded.view(padded.shape[0] // height, height, -1, width).transpose(1, 2).flatten(2)


def pack(module: torch.nn.Linear, scheme: QuantizationScheme, generator: torch.Generator) -> Packed:
    weight, args = module.weight.detach(), scheme.weights
    groups = None
    if args.actorder == "group":
        groups = torch.randperm(weight.shape[1], generator=generator).int() // args.group_size
    parts = parts_of(weight, args, groups)
    scale, zero_point = calculate_qparams(parts.amin(-1), parts.amax(-1), args)
    state = {"weight": weight, "weight_scale": scale, "weight_zero_point": zero_point}
    packed, values = pack_by_columns(state, scheme) if groups is None else pack_in_order(state | {"weight_g_idx": groups}, scheme)
    require((values.float() - weight.float()).abs().max() < 2 * parts.abs().max() / 2 ** (args.num_bits - 1 if args.type == "int" else 3),
            "compressed-tensors reads back other values")  # fmt: skip
    return packed, values


def pack_by_columns(state: dict[str, torch.Tensor], scheme: QuantizationScheme) -> Packed:
    compressor = BaseCompressor.get_value_from_registry(scheme.format)
    packed = compressor.compress(state, scheme)
    return packed, compressor.decompress(packed, scheme)["weight"]


def pack_in_order(state: dict[str, torch.Tensor], scheme: QuantizationScheme) -> Packed:
    """With the interface of compressed-tensors 0.12."""
    args, weight = scheme.weights, state["weight"]
    compressor = BaseCompressor.load_from_registry("pack-quantized")
    groups, scale = state["weight_g_idx"], state["weight_scale"]
    zero_point = None if args.symmetric else state["weight_zero_point"]
    packed = compressor.compress_weight(weight=weight, scale=scale, zero_point=zero_point, g_idx=groups, quantization_args=args)
    packed |= {"weight_scale": scale, "weight_g_idx": groups}
    if args.symmetric:
        return packed, compressor.decompress_weight(packed, quantization_args=args)
    codes = quantize(weight, scale, zero_point, args, dtype=torch.int8, g_idx=groups)
    return packed, dequantize(codes, scale, zero_point, args, g_idx=groups)  # decompress_weight did not have zero points yet


def quantization_config(schemes: dict[str, QuantizationScheme], format: str) -> dict:
    """As ModelCompressor.update_config writes it."""
    config = QuantizationConfig(config_groups={f"group_{i}": scheme for i, scheme in enumerate(schemes.values())}, format=format,
                                quantization_status=QuantizationStatus.COMPRESSED, ignore=["lm_head"])  # fmt: skip
    outside = {"version": compressed_tensors.__version__, "quant_method": "compressed-tensors"}
    return outside | {"sparsity_config": {}, "transform_config": {}} | config.model_dump(mode="json", exclude={"quant_method"})


def write_case(name: str, format: str, weights: list[dict], seed: int) -> None:
    schemes = {module: scheme_of(module, format, of_module) for module, of_module in zip(MODULES, weights)}
    generator = torch.Generator().manual_seed(seed)
    config = quantization_config(schemes, format)
    write_packed(FOLDER / name, float_model(seed, torch.bfloat16),
                 lambda module, linear: pack(linear, schemes[module.rsplit(".", 1)[1]], generator), config)  # fmt: skip


def main() -> None:
    be_quiet()
    if compressed_tensors.__version__ == "0.12.2":
        quantized_llama.KEPT = ("v_proj", "k_proj")
        write_case("actorder", *ACTORDER, seed=250)
        write_versions(FOLDER / "actorder", "compressed-tensors")
        return
    for i, (name, case) in enumerate(CASES.items()):
        quantized_llama.KEPT = MODULES[1:6] if name == "pack_quantized" else ("q_proj", "v_proj", "up_proj")
        write_case(name, *case, seed=240 + i)
    write_versions(FOLDER, "compressed-tensors")


if __name__ == "__main__":
    with one_thread():
        main()
