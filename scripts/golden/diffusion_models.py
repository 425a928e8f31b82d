"""The small pipelines of tests/data/diffusion: their configs, weights and tokenizer, as folders that diffusers loads.

Weights are stored as bfloat16 and computed with in float32. Every parameter has noise on it, those of norms and biases too.
open_clip_torch has the merges of CLIP's tokenizer; the first MERGES of them are a smaller one that is valid.
"""

import gzip
import importlib.util
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from quantized import save
from small_adapters import DATA, write_json
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

DIFFUSION = DATA / "diffusion"
FAMILIES = ("sd1", "sd2", "sdxl")
MERGES = 90
PIPELINES = {"sd1": StableDiffusionPipeline, "sd2": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}

SD_BLOCKS = {
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}
SD_UNET = SD_BLOCKS | {
    "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.6.0", "act_fn": "silu", "attention_head_dim": 2,
    "block_out_channels": [8, 16, 16, 16], "center_input_sample": False, "cross_attention_dim": 16, "downsample_padding": 1,
    "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 4, "layers_per_block": 2, "mid_block_scale_factor": 1, "norm_eps": 1e-05,
    "norm_num_groups": 4, "out_channels": 4, "sample_size": 8,
}  # fmt: skip
UNETS = {
    "sd1": SD_UNET,
    "sd2": SD_UNET | {"attention_head_dim": [1, 2, 2, 2], "use_linear_projection": True, "upcast_attention": True},
    "sdxl": SD_UNET
    | {
        "_diffusers_version": "0.19.0.dev0", "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], "mid_block_type": "UNetMidBlock2DCrossAttn",
        "block_out_channels": [8, 16, 16], "transformer_layers_per_block": [1, 1, 2], "attention_head_dim": [1, 2, 4],
        "cross_attention_dim": 32, "use_linear_projection": True, "upcast_attention": None, "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 64, "num_class_embeds": None,
        "resnet_time_scale_shift": "default", "time_embedding_type": "positional", "conv_in_kernel": 3, "conv_out_kernel": 3,
    },
}  # fmt: skip

SD_VAE = {
    "_class_name": "AutoencoderKL", "_diffusers_version": "0.6.0", "act_fn": "silu", "block_out_channels": [4, 8, 8, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 4, "in_channels": 3, "latent_channels": 4, "layers_per_block": 1, "norm_num_groups": 2,
    "out_channels": 3, "sample_size": 64, "up_block_types": ["UpDecoderBlock2D"] * 4,
}  # fmt: skip
VAES = {
    "sd1": SD_VAE,  # no scaling_factor, and the attention's old names: as in the published file
    "sd2": SD_VAE,
    "sdxl": SD_VAE | {"layers_per_block": 2, "scaling_factor": 0.13025, "force_upcast": True},
}
# As FLUX's and SD3's.
VAE_OF_16_CHANNELS = SD_VAE | {
    "latent_channels": 16, "scaling_factor": 0.3611, "shift_factor": 0.1159, "use_quant_conv": False, "use_post_quant_conv": False,
}  # fmt: skip
OLD_ATTENTION_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

SCHEDULE = {"beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "num_train_timesteps": 1000}
SCHEDULERS = {
    "sd1": SCHEDULE
    | {
        "_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", "set_alpha_to_one": False, "skip_prk_steps": True,
        "steps_offset": 1, "trained_betas": None, "clip_sample": False,
    },
    "sd2": SCHEDULE
    | {
        "_class_name": "DDIMScheduler", "_diffusers_version": "0.8.0", "clip_sample": False, "prediction_type": "v_prediction",
        "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None,
    },
    "sdxl": SCHEDULE
    | {
        "_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.19.0.dev0", "clip_sample": False, "interpolation_type": "linear",
        "prediction_type": "epsilon", "sample_max_value": 1.0, "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1,
        "timestep_spacing": "leading", "trained_betas": None, "use_karras_sigmas": False,
    },
}  # fmt: skip

TEXT = {
    "attention_dropout": 0.0, "bos_token_id": 0, "eos_token_id": 2, "hidden_act": "quick_gelu", "hidden_size": 16, "intermediate_size": 32,
    "layer_norm_eps": 1e-05, "max_position_embeddings": 77, "model_type": "clip_text_model", "num_attention_heads": 2,
    "num_hidden_layers": 3, "pad_token_id": 1, "projection_dim": 16, "vocab_size": 512 + MERGES + 2,
}  # fmt: skip
TEXT_ENCODERS = {
    "sd1": {"text_encoder": TEXT | {"architectures": ["CLIPTextModel"]}},
    "sd2": {"text_encoder": TEXT | {"architectures": ["CLIPTextModel"], "hidden_act": "gelu", "projection_dim": 8}},
    "sdxl": {
        "text_encoder": TEXT | {"architectures": ["CLIPTextModel"]},
        "text_encoder_2": TEXT | {"architectures": ["CLIPTextModelWithProjection"], "hidden_act": "gelu"},
    },
}


def merges_of_clip() -> list[str]:
    package = Path(importlib.util.find_spec("open_clip").origin).parent
    lines = gzip.open(package / "bpe_simple_vocab_16e6.txt.gz", "rt", encoding="utf-8").read().split("\n")
    return lines[1 : 1 + MERGES]


def byte_symbols() -> list[str]:
    """GPT-2's characters for bytes, in the order of CLIP's vocabulary."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(others))]


def write_tokenizer(folder: Path, pad: str) -> None:
    """The files of a published folder; the pad token of SD2 stands in special_tokens_map.json alone."""
    folder.mkdir(parents=True, exist_ok=True)
    merges, symbols = merges_of_clip(), byte_symbols()
    tokens = symbols + [symbol + "</w>" for symbol in symbols] + [merge.replace(" ", "") for merge in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    flags = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    start, end = {"content": "<|startoftext|>"} | flags, {"content": "<|endoftext|>"} | flags
    names = {"bos_token": start, "eos_token": end, "pad_token": pad, "unk_token": end}
    write_json(folder / "special_tokens_map.json", names)
    typed = {key: {"__type": "AddedToken"} | value for key, value in (("bos_token", start), ("eos_token", end), ("unk_token", end))}
    config = {
        "add_prefix_space": False, "do_lower_case": True, "errors": "replace", "model_max_length": 77, "pad_token": "<|endoftext|>",
        "tokenizer_class": "CLIPTokenizer",
    }  # fmt: skip
    write_json(folder / "tokenizer_config.json", config | typed)


def add_noise(model: torch.nn.Module, seed: int, weights: float) -> None:
    """Noise on everything: on the weights as much as is said, on norms and biases more than their start has."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() == 1:
            parameter.data += (0.2 if name.endswith("weight") else 0.1) * noise
        else:
            parameter.data += weights * noise


def stored(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.to(torch.bfloat16) for name, tensor in model.state_dict().items()}


def write_vae(folder: Path, config: dict, seed: int, old_names: bool) -> None:
    torch.manual_seed(seed)
    vae = AutoencoderKL.from_config(config)
    add_noise(vae, seed, 0.05)
    tensors = stored(vae)
    if old_names:
        for new, old in OLD_ATTENTION_NAMES.items():
            tensors = {key.replace(f"attentions.0.{new}.", f"attentions.0.{old}."): tensor for key, tensor in tensors.items()}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    save(tensors, folder / "diffusion_pytorch_model.safetensors")


def write_unet(folder: Path, config: dict, seed: int) -> None:
    torch.manual_seed(seed)
    unet = UNet2DConditionModel.from_config(config)
    add_noise(unet, seed, 0.05)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    save(stored(unet), folder / "diffusion_pytorch_model.safetensors")


def write_text_encoder(folder: Path, config: dict, seed: int, prefixed: bool) -> None:
    torch.manual_seed(seed)
    projected = config["architectures"] == ["CLIPTextModelWithProjection"]
    model = (CLIPTextModelWithProjection if projected else CLIPTextModel)(CLIPTextConfig(**config))
    add_noise(model, seed, 0.2)
    tensors = stored(model)
    if prefixed:  # the names of published files, which transformers writes no longer
        names = ("text_model.", "text_projection.")
        tensors = {name if name.startswith(names) else "text_model." + name: tensor for name, tensor in tensors.items()}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config | {"dtype": "bfloat16"})
    save(tensors, folder / "model.safetensors")


def write_pipeline(family: str) -> None:
    folder = DIFFUSION / family / "model"
    seed = 10 * (1 + FAMILIES.index(family))
    write_unet(folder / "unet", UNETS[family], seed)
    write_vae(folder / "vae", VAES[family], seed + 1, old_names=family == "sd1")
    index = {"_class_name": PIPELINES[family].__name__, "_diffusers_version": "0.19.0.dev0"}
    for place, (name, config) in enumerate(TEXT_ENCODERS[family].items()):
        write_text_encoder(folder / name, config, seed + 2 + place, prefixed=family != "sdxl")
        tokenizer = name.replace("text_encoder", "tokenizer")
        write_tokenizer(folder / tokenizer, "!" if family == "sd2" or place == 1 else "<|endoftext|>")
        index |= {name: ["transformers", config["architectures"][0]], tokenizer: ["transformers", "CLIPTokenizer"]}
    (folder / "scheduler").mkdir(parents=True, exist_ok=True)
    write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULERS[family])
    index |= {"scheduler": ["diffusers", SCHEDULERS[family]["_class_name"]]}
    index |= {"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}
    if family == "sdxl":
        index |= {"force_zeros_for_empty_prompt": True}
    else:
        index |= {"feature_extractor": [None, None], "safety_checker": [None, None]}
    write_json(folder / "model_index.json", index)


def load_pipeline(family: str):
    return PIPELINES[family].from_pretrained(DIFFUSION / family / "model", torch_dtype=torch.float32)


def write_models() -> None:
    for family in FAMILIES:
        write_pipeline(family)
    write_vae(DIFFUSION / "vae16", VAE_OF_16_CHANNELS, 40, old_names=False)
