"""Writes tests/data/quantized/bitsandbytes_blocks: the bytes that bitsandbytes' layers save for small weights, on the CPU.

sources.safetensors    `<case>.weight`, in the dtype in which it is quantised
<type>.safetensors     the layers' own state_dict(): `<case>.weight`, `<case>.weight.absmax`, `<case>.weight.quant_state.…`; of int8
                       `<case>.weight`, `<case>.SCB` and `<case>.weight_format`
products.safetensors   `<type>.<case>.x`, `.y`, `.dy` and `.dx`: a forward and a backward pass in training mode with float32 activations,
                       for weights that were quantised in another dtype
expected.safetensors   `<type>.<case>`: the dequantised weight in quant_state.dtype, and float32 for int8; not of every case (size)
cases.json             for each case its block size and quant_storage

bitsandbytes 0.50.2 dequantises some shapes wrongly where the CPU has AVX-512 (rows that are no multiple of the block, but of 16):
the expected values are code · absmax in float32, rounded once to the dtype, by torch. For all other shapes bitsandbytes' own function
has to give the same.
"""

import shutil

import bitsandbytes as bnb
import bitsandbytes.functional as bnb_functional
import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from llama_reference import be_quiet, one_thread
from quantized import FLOAT_TYPES, QUANTIZED, print_size, require, save, write_versions
from small_adapters import write_json

FOLDER = QUANTIZED / "bitsandbytes_blocks"
TYPES = {"nf4": ("nf4", False), "nf4_dq": ("nf4", True), "fp4": ("fp4", False), "fp4_dq": ("fp4", True)}  # quant_type, double quantisation

# rows, columns, dtype, block size, quant_storage
CASES = {f"{kind}_{rows}x{columns}": (rows, columns, kind, 64, "uint8")
         for kind in FLOAT_TYPES for rows, columns in ((64 if kind == "float32" else 20, 64), (3, 100), (65, 33))}  # fmt: skip
CASES |= {
    "block32": (80, 112, "bfloat16", 32, "uint8"),  # 280 blocks: two blocks of nested statistics
    "block128": (7, 144, "float32", 128, "uint8"),
    "block256": (5, 256, "float16", 256, "uint8"),
    "block4096": (9, 512, "bfloat16", 4096, "uint8"),
    "one_element": (1, 1, "float32", 64, "uint8"),
    "zero_block": (4, 64, "float32", 64, "uint8"),  # its second row
    "zero_tail": (2, 40, "float32", 64, "uint8"),  # its partial block
    "zeros": (3, 64, "bfloat16", 64, "uint8"),
    "tiny_values": (4, 64, "float32", 64, "uint8"),  # subnormal in the first row, 1e-30 in the others
    "ties": (16, 64, "float32", 64, "uint8"),  # elements on and next to the midpoints of the codes
    "storage_bfloat16": (16, 64, "float32", 64, "bfloat16"),
    "storage_float16": (16, 64, "float32", 64, "float16"),
    "storage_float32": (16, 64, "bfloat16", 64, "float32"),
}
PRODUCTS = ("bfloat16_20x64", "float16_20x64")  # a shape that bitsandbytes' AVX-512 code dequantises rightly


def midpoints(quant_type: str) -> torch.Tensor:
    code = bnb_functional.get_4bit_type(quant_type, device="cpu").sort().values
    middle = (code[:-1] + code[1:]) / 2
    return torch.cat([torch.nextafter(middle, middle - 1), middle, torch.nextafter(middle, middle + 1)])


def source(name: str, generator: torch.Generator) -> torch.Tensor:
    rows, columns, kind, _, _ = CASES[name]
    weight = 0.05 * torch.randn(rows, columns, generator=generator)
    if name == "zero_block":
        weight[1] = 0
    elif name == "zero_tail":
        weight.view(-1)[64:] = 0
    elif name == "zeros":
        weight.zero_()
    elif name == "tiny_values":
        weight *= torch.tensor([[1e-38], [1e-30], [1e-30], [1e-30]])
    elif name == "ties":
        weight[:, 0] = torch.tensor([1.0, 2.0, 0.5, 1.0] * 4)
        weight[0::2, 1:46] = midpoints("nf4") * weight[0::2, :1]
        weight[1::2, 1:46] = midpoints("fp4") * weight[1::2, :1]
    return weight.to(FLOAT_TYPES[kind])


def four_bit(name: str, weight: torch.Tensor, quant_type: str, double: bool) -> Linear4bit:
    _, _, _, block_size, storage = CASES[name]
    layer = Linear4bit(weight.shape[1], weight.shape[0], bias=False, compress_statistics=double, quant_type=quant_type,
                       quant_storage=FLOAT_TYPES.get(storage, torch.uint8))  # fmt: skip
    layer.weight.blocksize = block_size
    layer.weight.data = weight.clone()
    return layer.to("cpu")  # quantises


def absmax_of(state) -> torch.Tensor:
    if not state.nested:
        return state.absmax
    nested = state.state2
    blocks = torch.arange(state.absmax.numel()) // nested.blocksize
    return nested.code[state.absmax.long()] * nested.absmax[blocks] + state.offset


def dequantized(packed: torch.Tensor, state) -> torch.Tensor:
    """code · absmax in float32, then rounded to quant_state.dtype."""
    bytes_of = packed.contiguous().view(torch.uint8).reshape(-1)
    codes = torch.stack([bytes_of >> 4, bytes_of & 15], dim=1).reshape(-1)[: state.shape.numel()].long()
    absmax = absmax_of(state)[torch.arange(codes.numel()) // state.blocksize]
    return (state.code[codes] * absmax).to(state.dtype).reshape(state.shape)


def is_right_with_avx512(columns: int, block_size: int) -> bool:
    return columns % 16 != 0 or columns % block_size == 0


def check_dequantized(name: str, layer: Linear4bit, expected: torch.Tensor) -> None:
    state = layer.weight.quant_state
    own = bnb_functional.dequantize_4bit(layer.weight.data, state)
    if is_right_with_avx512(state.shape[-1], state.blocksize):
        require(torch.equal(own, expected), f"{name}: bitsandbytes dequantises to other values")
    if not state.nested:
        return
    own = bnb_functional.dequantize_blockwise(state.absmax, state.state2) + state.offset
    require(torch.equal(own, absmax_of(state)), f"{name}: bitsandbytes reads other statistics")


def products(layer: Linear4bit, generator: torch.Generator) -> dict[str, torch.Tensor]:
    layer.compute_dtype, layer.compute_type_is_set = torch.float32, True
    x = torch.randn(6, layer.in_features, generator=generator).requires_grad_()
    y = layer.train()(x)
    dy = torch.randn(y.shape, generator=generator)
    y.backward(dy)
    return {"x": x.detach(), "y": y.detach(), "dy": dy, "dx": x.grad}


def keeps_values(kind: str, name: str) -> bool:
    dtypes = {"nf4": tuple(FLOAT_TYPES), "fp4": ("float32",), "nf4_dq": ("bfloat16",), "fp4_dq": (), "int8": ("float32", "float16_3")}
    if name in ("block32", "block4096"):
        return kind == "nf4_dq"
    return name.startswith(dtypes[kind]) or (not name.startswith(tuple(FLOAT_TYPES)) and kind != "fp4_dq")


def saved(layer: torch.nn.Module, name: str) -> dict[str, torch.Tensor]:
    return {f"{name}.{key}": torch.as_tensor(value).clone() for key, value in layer.state_dict().items()}


def eight_bit(weight: torch.Tensor) -> Linear8bitLt:
    layer = Linear8bitLt(weight.shape[1], weight.shape[0], bias=False, has_fp16_weights=False)
    layer.weight.data = weight.clone()
    return layer.to("cpu")


def int8_values(layer: Linear8bitLt) -> torch.Tensor:
    values = bnb_functional.int8_vectorwise_dequant(layer.weight.data, layer.weight.SCB)
    ours = layer.weight.data * layer.weight.SCB.view(-1, 1) * 7.874015718698502e-3
    require(torch.equal(values, ours), "bitsandbytes dequantises int8 to other values")
    return values


def main() -> None:
    be_quiet()
    shutil.rmtree(FOLDER, ignore_errors=True)
    generator = torch.Generator().manual_seed(41)
    sources = {name: source(name, generator) for name in CASES}
    save({f"{name}.weight": weight for name, weight in sources.items()}, FOLDER / "sources.safetensors")
    expected, computed = {}, {}
    of_products = torch.Generator().manual_seed(42)
    for kind, (quant_type, double) in TYPES.items():
        tensors = {}
        for name, weight in sources.items():
            layer = four_bit(name, weight, quant_type, double)
            values = dequantized(layer.weight.data, layer.weight.quant_state)
            check_dequantized(f"{kind} {name}", layer, values)
            expected |= {f"{kind}.{name}": values} if keeps_values(kind, name) else {}
            tensors |= saved(layer, name)
            if name in PRODUCTS:
                computed |= {f"{kind}.{name}.{key}": value for key, value in products(layer, of_products).items()}
        save(tensors, FOLDER / f"{kind}.safetensors")
    rows = {name: eight_bit(weight) for name, weight in sources.items() if not name.startswith(("block", "storage"))}
    save({key: value for name, layer in rows.items() for key, value in saved(layer, name).items()}, FOLDER / "int8.safetensors")
    expected |= {f"int8.{name}": int8_values(layer) for name, layer in rows.items() if keeps_values("int8", name)}
    save(expected, FOLDER / "expected.safetensors")
    save(computed, FOLDER / "products.safetensors")
    keys = ("rows", "columns", "dtype", "block_size", "quant_storage")
    write_json(FOLDER / "cases.json", {name: dict(zip(keys, case)) for name, case in CASES.items()})
    write_versions(FOLDER, "bitsandbytes")
    print_size(FOLDER)


if __name__ == "__main__":
    with one_thread():
        main()
