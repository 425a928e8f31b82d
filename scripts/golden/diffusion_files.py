"""LoRA files as diffusers writes them, and what the networks compute after diffusers has loaded each."""


import re

import torch
from diffusers.training_utils import _collate_lora_metadata
from diffusers.utils import convert_state_dict_to_diffusers
from diffusion_models import DIFFUSION, FAMILIES, PIPELINES, load_pipeline
from diffusion_training import ADAPTERS, rows_of, schedule_of
from peft import LoraConfig, get_peft_model_state_dict
from quantized import require, save
from safetensors.torch import load_file

TEXT_TARGETS = ["q_proj", "k_proj", "v_proj", "out_proj"]


def text_encoders_of(pipeline) -> dict[str, torch.nn.Module]:
    names = ("text_encoder", "text_encoder_2")
    return {name: getattr(pipeline, name) for name in names if getattr(pipeline, name, None) is not None}


def adapt(pipeline, family: str) -> None:
    """The attention adapter of the family's folder, and noise for the text encoders."""
    pipeline.unet.add_adapter(LoraConfig(**ADAPTERS["attention"]))
    stored = load_file(DIFFUSION / family / "adapters" / "attention" / "adapter_model.safetensors")
    own = dict(pipeline.unet.named_parameters())
    for key, tensor in stored.items():
        name = key.removeprefix("base_model.model.").replace(".weight", ".default.weight")
        own[name].data.copy_(tensor)
    for place, encoder in enumerate(text_encoders_of(pipeline).values()):
        encoder.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=TEXT_TARGETS))
        generator = torch.Generator().manual_seed(4000 + place + FAMILIES.index(family))
        for name, parameter in encoder.named_parameters():
            if "lora_" in name:
                parameter.data.copy_((0.2 * torch.randn(parameter.shape, generator=generator)).to(torch.bfloat16))


def states(pipeline) -> dict[str, dict[str, torch.Tensor]]:
    modules = {"unet": pipeline.unet} | text_encoders_of(pipeline)
    return {name: get_peft_model_state_dict(module) for name, module in modules.items()}


@torch.no_grad()
def outputs(folder, name: str, family: str) -> dict[str, torch.Tensor]:
    """Of the UNet for the first row, and of the text encoders for a caption, after diffusers has loaded the file."""
    pipeline = load_pipeline(family)
    pipeline.load_lora_weights(folder, weight_name=name)
    row, schedule = rows_of(family, torch.float32)[0], schedule_of(family)
    noisy = schedule.add_noise(row["latents"][None], row["noise"][None], row["timestep"])
    added = {"added_cond_kwargs": {"text_embeds": row["pooled"][None], "time_ids": row["time_ids"][None]}} if family == "sdxl" else {}
    unet = pipeline.unet(noisy, row["timestep"], row["encoder_hidden_states"][None], **added).sample[0]
    text = pipeline.encode_prompt("a photo of a cat", device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False)[0]
    return {"unet": unet, "text": text[0]}


def kohya_prefixes(family: str) -> dict[str, str]:
    first = "lora_te1" if family == "sdxl" else "lora_te"
    return {"unet": "lora_unet", "text_encoder": first, "text_encoder_2": "lora_te2"}


def ldm_name(module: str) -> str:
    """A module of SDXL's UNet by the numbering of the original code, which kohya's files have for SDXL alone."""
    place = re.fullmatch(r"(down|mid|up)_blocks?\.(?:(\d)\.)?attentions\.(\d)\.(.*)", module)
    kind, block, layer, rest = place.groups()
    if kind == "mid":
        return f"middle_block.1.{rest}"
    number = 3 * int(block) + int(layer)
    return f"input_blocks.{1 + number}.1.{rest}" if kind == "down" else f"output_blocks.{number}.1.{rest}"


def kohya_file(components: dict[str, dict[str, torch.Tensor]], family: str, ldm: bool) -> dict[str, torch.Tensor]:
    alphas, tensors = {"unet": float(ADAPTERS["attention"]["lora_alpha"])}, {}
    for name, state in components.items():
        for key, tensor in state.items():
            module, part = re.fullmatch(r"(.*)\.lora_([AB])\.weight", key).groups()
            if name != "unet":
                module = "text_model." + module.removeprefix("text_model.")
            elif ldm:
                module = ldm_name(module)
            stem = f"{kohya_prefixes(family)[name]}_{module.replace('.', '_')}"
            tensors[f"{stem}.lora_{'down' if part == 'A' else 'up'}.weight"] = tensor
            tensors[f"{stem}.alpha"] = torch.tensor(alphas.get(name, 2.0))
    return tensors


def check(expected: dict[str, torch.Tensor], name: str, like: str) -> None:
    for part in ("unet", "text"):
        difference = (expected[f"{name}.{part}"] - expected[f"{like}.{part}"]).abs().max()
        require(bool(difference < 1e-5), f"diffusers computes something else with {name} than with {like}: {part} differs by {difference}")


def write_lora_files(family: str) -> None:
    folder = DIFFUSION / family / "lora_files"
    pipeline, expected = load_pipeline(family), {}
    adapt(pipeline, family)
    metadata = _collate_lora_metadata({"unet": pipeline.unet} | text_encoders_of(pipeline))
    components = states(pipeline)
    # PEFT's names with lora_adapter_metadata, as the DreamBooth scripts write them
    kinds = {"peft.safetensors": (components, metadata)}
    if family == "sd1":  # `.lora.down` names without metadata, as the text_to_image scripts write them: alpha is lost
        kinds["script.safetensors"] = ({name: convert_state_dict_to_diffusers(dict(state)) for name, state in components.items()}, {})
    for name, (parts, notes) in kinds.items():
        layers = {f"{component}_lora_layers": state for component, state in parts.items()} | notes
        PIPELINES[family].save_lora_weights(folder, weight_name=name, **layers)
        expected |= {f"{name}.{key}": tensor for key, tensor in outputs(folder, name, family).items()}
    for name, ldm in {"sd1": (("kohya", False),), "sd2": (), "sdxl": (("kohya", True), ("kohya_diffusers_names", False))}[family]:
        file = f"{name}.safetensors"
        save(kohya_file(components, family, ldm), folder / file)
        expected |= {f"{file}.{key}": tensor for key, tensor in outputs(folder, file, family).items()}
        check(expected, file, "peft.safetensors")
    save(expected, folder / "expected.safetensors")
