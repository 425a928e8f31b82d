"""LoRA files of text-to-image pipelines (tests/data/diffusion/lora): one adapter of each small pipeline as PEFT and diffusers save it, in
the styles of diffusers' older versions, and as kohya's sd-scripts write it.

kohya's rules stand here a second time, from sd-scripts' networks/lora.py and library/sai_model_spec.py, and are checked by diffusers'
reader: it must give every linear module and convolution its name back. Numbers are those of float16, in which all files are stored.
"""

import hashlib
import io
import json
import re
import shutil
from pathlib import Path

import safetensors.torch
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.loaders import lora_conversion_utils as readers
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from quantized import require, save, write_versions
from small_adapters import DATA, tidy, write_json

DIFFUSION = DATA / "diffusion"
PIPELINES = {"sd1": StableDiffusionPipeline, "sd2": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}

ATTENTION = ("attn1.to_q", "attn2.to_k", "attn2.to_out.0", "ff.net.0.proj", "ff.net.2")
UNET_TARGETS = {
    "sd1": ["conv_in", "time_embedding.linear_1", "down_blocks.0.attentions.1.proj_in", "down_blocks.0.downsamplers.0.conv"]
    + [f"down_blocks.0.attentions.1.transformer_blocks.0.{part}" for part in ATTENTION]
    + ["mid_block.resnets.1.conv2", "mid_block.attentions.0.transformer_blocks.0.attn2.to_v", "up_blocks.0.upsamplers.0.conv"]
    + ["up_blocks.3.resnets.2.conv_shortcut", "up_blocks.3.resnets.0.time_emb_proj", "up_blocks.3.resnets.0.conv1"],
    "sd2": ["down_blocks.2.attentions.0.proj_in", "down_blocks.2.attentions.0.transformer_blocks.0.attn2.to_k"],
    "sdxl": ["conv_out", "add_embedding.linear_2", "down_blocks.1.attentions.1.proj_out", "down_blocks.0.downsamplers.0.conv"]
    + [f"down_blocks.2.attentions.1.transformer_blocks.1.{part}" for part in ATTENTION]
    + ["mid_block.resnets.0.conv1", "mid_block.attentions.0.transformer_blocks.1.attn2.to_v", "up_blocks.1.upsamplers.0.conv"]
    + ["up_blocks.2.resnets.2.conv_shortcut", "up_blocks.0.resnets.2.time_emb_proj"],
}
TEXT_TARGETS = ["layers.0.self_attn.q_proj", "layers.2.self_attn.out_proj", "layers.1.mlp.fc1"]
DORA_TARGETS = ["down_blocks.0.resnets.0.conv1", "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_v"]


def fill(model: torch.nn.Module, seed: int) -> None:
    """Numbers that float16 holds; magnitudes near their start."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            noise = torch.randn(parameter.shape, generator=generator)
            start = parameter.data * (1 + 0.2 * noise) if "magnitude" in name else 0.3 * noise
            parameter.data.copy_(start.half().float())


def with_adapter(model: torch.nn.Module, seed: int, **options: object) -> torch.nn.Module:
    wrapped = get_peft_model(model, LoraConfig(**options))
    fill(wrapped, seed)
    return wrapped


def adapted(family: str) -> dict[str, torch.nn.Module]:
    """The components with an adapter, by name. Ranks and alphas differ, and text encoders use rsLoRA."""
    pipeline = PIPELINES[family].from_pretrained(DIFFUSION / family / "model", torch_dtype=torch.float32)
    targets = UNET_TARGETS[family]
    patterns = {"rank_pattern": {targets[0]: 1}, "alpha_pattern": {targets[0]: 5, targets[-1]: 0.5}} if len(targets) > 2 else {}
    models = {"unet": with_adapter(pipeline.unet, 1, r=2, lora_alpha=3, target_modules=targets, **patterns)}
    if family != "sd2":
        options = {"r": 4, "lora_alpha": 2, "use_rslora": True, "target_modules": TEXT_TARGETS}
        models["text_encoder"] = with_adapter(pipeline.text_encoder, 2, **options)
    if family == "sdxl":
        models["text_encoder_2"] = with_adapter(pipeline.text_encoder_2, 3, r=1, lora_alpha=1, target_modules=TEXT_TARGETS)
    return models


def tensors_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """By "<module>.lora_A.weight", with `text_model.` where it belongs."""
    tensors = {key.removeprefix("base_model.model."): value.half() for key, value in get_peft_model_state_dict(model).items()}
    return {"text_model." + key if key.startswith("encoder.layers.") else key: value for key, value in tensors.items()}


def write_peft(models: dict[str, torch.nn.Module], folder: Path) -> None:
    for component, model in models.items():
        own = folder if component == "unet" else folder / component
        model.half().save_pretrained(own)
        model.float()
        tidy(own)


def write_diffusers(family: str, models: dict[str, torch.nn.Module], folder: Path) -> None:
    layers = {f"{component}_lora_layers": tensors_of(model) for component, model in models.items()}
    metadata = {}
    for component, model in models.items():
        config = model.peft_config["default"].to_dict()
        config |= {"target_modules": sorted(config["target_modules"]), "base_model_name_or_path": "base"}
        metadata[f"{component}_lora_adapter_metadata"] = config
    PIPELINES[family].save_lora_weights(folder, **layers, **metadata, weight_name="diffusers.safetensors")


def write_old_styles(models: dict[str, torch.nn.Module], folder: Path) -> None:
    """What diffusers' example scripts write, and what its attention processors wrote before 0.22 (the UNet's attention alone)."""
    script, processors = {}, {}
    for component, model in models.items():
        for key, value in tensors_of(model).items():
            module, part = key.split(".lora_")
            side = "down" if part.startswith("A") else "up"
            is_attention = re.search(r"\.attn[12]\.", module) is not None
            style = f"lora_linear_layer.{side}" if component != "unet" else f"lora.{side}" if is_attention else f"lora_{part[0]}"
            script[f"{component}.{module}.{style}.weight"] = value
            if is_attention:
                name = re.sub(r"(attn[12])\.", r"\1.processor.", module).replace("to_out.0", "to_out")
                processors[f"{name}_lora.{side}.weight"] = value
    save(script, folder / "script.safetensors")
    save(processors, folder / "processors.safetensors")


def original_name(module: str) -> str:
    """The number and names that SDXL's own code has for a module of diffusers' UNet (two layers per block)."""
    inside = {"conv1": "in_layers.2", "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}
    outside = {
        "conv_in": "input_blocks.0.0", "conv_out": "out.2", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2":
        "time_embed.2", "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
    }  # fmt: skip
    if module in outside:
        return outside[module]
    if match := re.fullmatch(r"down_blocks\.(\d)\.downsamplers\.0\.conv", module):
        return f"input_blocks.{3 * (int(match[1]) + 1)}.0.op"
    if match := re.fullmatch(r"up_blocks\.(\d)\.upsamplers\.0\.conv", module):
        return f"output_blocks.{3 * int(match[1]) + 2}.2.conv"
    if match := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", module):
        place = 1 if match[1] == "attentions" else 2 * int(match[2])
        return f"middle_block.{place}.{inside.get(match[3], match[3])}"
    side, block, kind, layer, rest = re.fullmatch(r"(down|up)_blocks\.(\d)\.(resnets|attentions)\.(\d)\.(.+)", module).groups()
    number = 3 * int(block) + int(layer) + (1 if side == "down" else 0)
    return f"{'input' if side == 'down' else 'output'}_blocks.{number}.{int(kind == 'attentions')}.{inside.get(rest, rest)}"


def kohya_name(family: str, component: str, module: str) -> str:
    is_xl = family == "sdxl"
    prefix = {"unet": "lora_unet", "text_encoder": "lora_te1" if is_xl else "lora_te", "text_encoder_2": "lora_te2"}[component]
    return prefix + "_" + (original_name(module) if is_xl and component == "unet" else module).replace(".", "_")


def hashes(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> dict[str, str]:
    """train_util.precalculate_safetensors_hashes."""
    file = io.BytesIO(safetensors.torch.save(tensors, metadata))
    header = 8 + int.from_bytes(file.read(8), "little")
    whole = hashlib.sha256(file.getvalue()[header:]).hexdigest()
    legacy = hashlib.sha256(file.getvalue()[0x100000:0x110000]).hexdigest()[:8]
    return {"sshs_model_hash": whole, "sshs_legacy_hash": legacy}


FAMILY_METADATA = {
    "sd1": ("sd_v1", "False", "stable-diffusion-v1/lora", "diffusers", "512x512", "epsilon"),
    "sd2": ("sd_v2_v", "True", "stable-diffusion-v2-768-v/lora", "diffusers", "768x768", "v"),
    "sdxl": ("sdxl_base_v1-0", "False", "stable-diffusion-xl-v1-base/lora", "https://github.com/Stability-AI/generative-models",
             "1024x1024", "epsilon"),
}  # fmt: skip


def number(values: set[float]) -> str:
    return f"{values.pop():g}" if len(values) == 1 else "Dynamic"


def write_kohya(family: str, models: dict[str, torch.nn.Module], file: Path) -> None:
    tensors, sizes = {}, {False: (set(), set()), True: (set(), set())}
    for component, model in models.items():
        layers = {name.removeprefix("base_model.model."): layer for name, layer in model.named_modules() if hasattr(layer, "lora_A")}
        for module, layer in layers.items():
            stored_name = "text_model." + module if module.startswith("encoder.layers.") else module
            name = kohya_name(family, component, stored_name)
            down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
            alpha = layer.scaling["default"] * layer.r["default"]  # kohya's scale is alpha / rank
            tensors[f"{name}.lora_down.weight"] = down.detach().half().contiguous()
            tensors[f"{name}.lora_up.weight"] = up.detach().half().contiguous()
            tensors[f"{name}.alpha"] = torch.tensor(alpha, dtype=torch.float16)
            if "default" in layer.lora_magnitude_vector:
                magnitude = layer.lora_magnitude_vector["default"].weight.detach().half()
                tensors[f"{name}.dora_scale"] = magnitude.reshape(-1, *[1] * (down.dim() - 1))
            ranks, alphas = sizes[down.dim() == 4 and down.shape[2] > 1]
            ranks.add(layer.r["default"])
            alphas.add(alpha)
    base, is_2, architecture, code, resolution, prediction = FAMILY_METADATA[family]
    ranks, alphas = sizes[False]
    metadata = {
        "ss_network_module": "networks.lora", "ss_base_model_version": base, "ss_v2": is_2, "ss_network_dim": number(ranks),
        "ss_network_alpha": number(alphas),
    }  # fmt: skip
    if sizes[True][0]:
        metadata["ss_network_args"] = json.dumps({"conv_dim": number(sizes[True][0]), "conv_alpha": number(sizes[True][1])}, separators=(",", ":"))
    metadata |= hashes(tensors, metadata) | {
        "modelspec.sai_model_spec": "1.0.1", "modelspec.architecture": architecture, "modelspec.implementation": code,
        "modelspec.title": "kohya", "modelspec.resolution": resolution, "modelspec.prediction_type": prediction, "format": "pt",
    }  # fmt: skip
    safetensors.torch.save_file(tensors, file, metadata)


def names_of(family: str) -> dict[str, str]:
    """kohya's name of every linear module and convolution of the UNet; diffusers' reader must reverse it."""
    unet = PIPELINES[family].from_pretrained(DIFFUSION / family / "model").unet
    modules = [name for name, module in unet.named_modules() if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d))]
    names = {module: kohya_name(family, "unet", module) for module in modules}
    for module, name in names.items():
        pair = {f"{name}.lora_down.weight": torch.zeros(1), f"{name}.lora_up.weight": torch.zeros(1)}
        pair = readers._maybe_map_sgm_blocks_to_diffusers(pair, unet.config)
        keys = readers._convert_non_diffusers_lora_to_diffusers(pair)[0]
        found = next(key for key in keys if "down" in key).replace(".processor", "")
        found = re.sub(r"(_lora|\.lora)\.down\.weight$", "", found.removeprefix("unet.")).replace("to_out", "to_out.0").replace(".0.0", ".0")
        require(found.replace("to_out.0", "to_out") == module.replace("to_out.0", "to_out"), f"diffusers reads {name} as {found}, not {module}")
    return names


def main() -> None:
    root = DIFFUSION / "lora"
    for family in PIPELINES:
        folder = root / family
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        models = adapted(family)
        write_peft(models, folder / "peft")
        write_diffusers(family, models, folder)
        write_kohya(family, models, folder / "kohya.safetensors")
        if family == "sd1":
            write_old_styles(models, folder)
        if family != "sd2":  # as sd1
            write_json(folder / "names.json", names_of(family))
    dora = root / "sd1_dora"
    shutil.rmtree(dora, ignore_errors=True)
    dora.mkdir()
    unet = StableDiffusionPipeline.from_pretrained(DIFFUSION / "sd1" / "model", torch_dtype=torch.float32).unet
    models = {"unet": with_adapter(unet, 4, r=2, lora_alpha=4, use_dora=True, target_modules=DORA_TARGETS)}
    write_peft(models, dora / "peft")
    write_diffusers("sd1", models, dora)
    write_kohya("sd1", models, dora / "kohya.safetensors")
    write_versions(root, "diffusers", "peft", "transformers")


if __name__ == "__main__":
    main()
