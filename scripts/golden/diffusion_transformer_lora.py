"""kohya's LoRA files of FLUX.1 and Stable Diffusion 3 (tests/data/diffusion/lora/{flux,sd3}): a file with every module that sd-scripts
names (networks/lora_flux.py with split_qkv, lora_sd3.py with emb_dims), and the changes of diffusers' weights that follow.

The changes are made under the original code's names, and renamed, taken apart and turned round by diffusers' converter of single files;
those of FLUX.1 are checked by diffusers' reader of kohya's files. The widths of FLUX.1 that both have in their code are replaced.
"""

import inspect
import shutil

import safetensors.torch
import torch
from diffusers.loaders import lora_conversion_utils as readers
from diffusers.loaders import single_file_utils as converters
from diffusion_lora_files import DIFFUSION, hashes
from quantized import require, save

WIDTH = 4
RANK = 2
OUTSIDE = {
    "flux": {
        "img_in": (4, 8), "txt_in": (4, 6), "time_in.in_layer": (4, 10), "time_in.out_layer": (4, 4), "vector_in.in_layer": (4, 6),
        "vector_in.out_layer": (4, 4), "guidance_in.in_layer": (4, 10), "guidance_in.out_layer": (4, 4), "final_layer.linear": (8, 4),
        "final_layer.adaLN_modulation.1": (8, 4),
    },
    "sd3": {
        "x_embedder.proj": (4, 3, 2, 2), "context_embedder": (4, 6), "t_embedder.mlp.0": (4, 10), "t_embedder.mlp.2": (4, 4),
        "y_embedder.mlp.0": (4, 6), "y_embedder.mlp.2": (4, 4), "final_layer.linear": (8, 4), "final_layer.adaLN_modulation.1": (8, 4),
    },
}  # fmt: skip
SPLIT = {"qkv": [4, 4, 4], "linear1": [4, 4, 4, 16]}
DENSE = {"double_blocks.0.txt_attn.qkv", "single_blocks.0.linear1", "joint_blocks.0.context_block.attn.qkv"}
METADATA = {
    "flux": {"ss_network_module": "networks.lora_flux", "ss_base_model_version": "flux1"},
    "sd3": {"ss_network_module": "networks.lora_sd3", "ss_base_model_version": "3-5-medium"},
}
# In networks/lora_sd3.py the architecture has the version after "stable-diffusion-3-", whose own 3 is in it too.
SPECIFICATION = {
    "flux": {"modelspec.architecture": "flux-1-dev/lora", "modelspec.implementation": "https://github.com/black-forest-labs/flux"},
    "sd3": {"modelspec.architecture": "stable-diffusion-3-3-5-medium/lora", "modelspec.implementation": "diffusers",
            "modelspec.prediction_type": "epsilon"},
}  # fmt: skip


def flux_shapes() -> dict[str, tuple[int, ...]]:
    shapes = dict(OUTSIDE["flux"])
    for side in ("img", "txt"):
        block = {"attn.qkv": (12, 4), "attn.proj": (4, 4), "mlp.0": (16, 4), "mlp.2": (4, 16), "mod.lin": (24, 4)}
        shapes |= {f"double_blocks.0.{side}_{part}": shape for part, shape in block.items()}
    for number in (0, 1):
        block = {"linear1": (28, 4), "linear2": (4, 20), "modulation.lin": (12, 4)}
        shapes |= {f"single_blocks.{number}.{part}": shape for part, shape in block.items()}
    return shapes


def sd3_shapes() -> dict[str, tuple[int, ...]]:
    """The first block has a second attention, the last has no result for the text."""
    shapes = dict(OUTSIDE["sd3"])
    common = {"attn.proj": (4, 4), "mlp.fc1": (16, 4), "mlp.fc2": (4, 16)}
    for number in (0, 1):
        patches = {"attn.qkv": (12, 4), **common, "adaLN_modulation.1": (36 if number == 0 else 24, 4)}
        patches |= {"attn2.qkv": (12, 4), "attn2.proj": (4, 4)} if number == 0 else {}
        text = {"attn.qkv": (12, 4), **(common if number == 0 else {}), "adaLN_modulation.1": (24 if number == 0 else 8, 4)}
        shapes |= {f"joint_blocks.{number}.x_block.{part}": shape for part, shape in patches.items()}
        shapes |= {f"joint_blocks.{number}.context_block.{part}": shape for part, shape in text.items()}
    return shapes


def pair_of(name: str, shape: tuple[int, ...], generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Down and up. With split_qkv the parts of a projection have ranks of their own: up is a block for each."""
    draw = lambda *size: torch.randn(size, generator=generator).half()
    widths = SPLIT.get(name.rsplit(".", 1)[-1])
    if widths is None or name in DENSE:
        kernel = shape[2:]
        return draw(RANK, *shape[1:]), draw(shape[0], RANK, *(1 for _ in kernel))
    return draw(RANK * len(widths), shape[1]), torch.block_diag(*(draw(width, RANK) for width in widths))


def with_width(function):
    """The function for the small width."""
    source = inspect.getsource(function)
    changed = source.replace("[3072, 3072, 3072, 12288]", "[4, 4, 4, 16]").replace("inner_dim = 3072", "inner_dim = 4")
    require(changed != source, f"{function.__name__} has the widths in its code")
    names = dict(inspect.getmodule(function).__dict__)
    exec(changed, names)  # noqa: S102
    return names[function.__name__]


def other_tensors(family: str) -> dict[str, torch.Tensor]:
    """What the converters expect besides the modules that have an adapter."""
    if family == "sd3":
        return {"pos_embed": torch.zeros(1)}
    norms = [f"double_blocks.0.{side}_attn.norm.{part}_norm.scale" for side in ("img", "txt") for part in ("query", "key")]
    norms += [f"single_blocks.{number}.norm.{part}_norm.scale" for number in (0, 1) for part in ("query", "key")]
    return {name: torch.ones(1) for name in norms}


def write_family(family: str, convert) -> None:
    generator = torch.Generator().manual_seed(90)
    tensors, checkpoint, alphas = {}, other_tensors(family), [1.0, 3.0, 2.0]
    for place, (name, shape) in enumerate((flux_shapes if family == "flux" else sd3_shapes)().items()):
        down, up = pair_of(name, shape, generator)
        alpha = torch.tensor(alphas[place % 3], dtype=torch.float16)
        kohya = "lora_unet_" + name.replace(".", "_")
        tensors |= {f"{kohya}.lora_down.weight": down, f"{kohya}.lora_up.weight": up, f"{kohya}.alpha": alpha}
        scale = alpha.float() / down.shape[0]
        checkpoint[name + ".weight"] = (scale * up.float().flatten(1) @ down.float().flatten(1)).reshape(shape)
        checkpoint[name + ".bias"] = torch.zeros(shape[0])
    changes = {name.removesuffix(".weight"): tensor for name, tensor in convert(checkpoint).items()}
    changes = {name: tensor for name, tensor in changes.items() if tensor.dim() > 1}
    if family == "flux":
        read = with_width(readers._convert_kohya_flux_lora_to_diffusers)({name: tensor.float() for name, tensor in tensors.items()})
        for name, change in changes.items():
            key = next(key for key in (name, "transformer." + name) if key + ".lora_A.weight" in read)
            found = read[key + ".lora_B.weight"] @ read[key + ".lora_A.weight"]
            is_scaled = "final_layer" not in name and name not in ("proj_out", "norm_out.linear")  # diffusers forgets their alpha
            require(not is_scaled or torch.allclose(found, change, atol=1e-5), f"diffusers reads another change of {name}")
    folder = DIFFUSION / "lora" / family
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    metadata = METADATA[family] | {"ss_v2": "False", "ss_network_dim": str(RANK), "ss_network_alpha": "Dynamic"}
    metadata |= hashes(tensors, metadata) | SPECIFICATION[family]
    metadata |= {"modelspec.sai_model_spec": "1.0.1", "modelspec.title": "kohya", "modelspec.resolution": "1024x1024", "format": "pt"}
    safetensors.torch.save_file(tensors, folder / "kohya.safetensors", metadata)
    save(changes, folder / "changes.safetensors")


def main() -> None:
    write_family("flux", with_width(converters.convert_flux_transformer_checkpoint_to_diffusers))
    write_family("sd3", converters.convert_sd3_transformer_checkpoint_to_diffusers)


if __name__ == "__main__":
    main()
