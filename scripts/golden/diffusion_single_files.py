"""Writes tests/data/diffusion/single_files.json and texts.json.

single_files.json: for each component of the small pipelines the prefix of its tensors in a single-file checkpoint of Stability's layout
("ldm"), and {name in the file: names of diffusers' tensors}, where "weight" and "bias" follow the names that end in "." or "_". Tensors of
several names are stacked by rows; text_projection is transposed; matrices of the autoencoder's attention are 1x1 convolutions. The files
themselves are made, loaded by diffusers' from_single_file, and compared with the pipelines; the test makes them again from this table.

texts.json: ids that the pipelines' tokenizers give to odd texts, always of 77 positions, and how many tokens had no room.

    PYTHONPATH=<folder of diffusers and open_clip> python diffusion_single_files.py
"""

import json
import re
import tempfile
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint
from diffusion_models import DIFFUSION, FAMILIES, OLD_ATTENTION_NAMES
from llama_reference import be_quiet
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

BLOCKS = {"sd1": 4, "sd2": 4, "sdxl": 3}
PER_BLOCK = 3
RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}  # fmt: skip
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2", "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
CLIP_LAYER = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj", "self_attn.out_proj": "attn.out_proj",
}  # fmt: skip
PREFIXES = {
    "sd1": {"text_encoder": ("cond_stage_model.transformer.", False)},
    "sd2": {"text_encoder": ("cond_stage_model.model.", True)},
    "sdxl": {"text_encoder": ("conditioner.embedders.0.transformer.", False), "text_encoder_2": ("conditioner.embedders.1.model.", True)},
}

LONG = "one two three four five six seven eight nine ten " * 10
TEXTS = [
    "", " ", "a photo of a cat", "A Photo OF a CAT", "cat!!", "!", "wow ! really!?", "3 trees, 1999 and 12.5%", "it's they're I'd DON'T",
    "naïve café e\u0301te\u0301", "\u00dcBER stra\u00dfe \u0130stanbul", "🐈‍⬛ 👩🏽‍🎨 🇩🇪", "一只猫 を 描く 고양이", "tab\tand\nnew\r\nline  two   spaces",
    "\u0000\u0001 control \u007f\u0085 x\u200bzero\u200dwidth\ufeff", "<|endoftext|> in the middle", "<|EndOfText|> <|startoftext|>x", "a_b-c/d\\e@f#g",
    "\u2026 \u201cquotes\u201d \u2014 dash", "\U0001d4d0\ufb01 \u2460\u00bd", "\u0645\u0631\u062d\u0628\u0627 \u0639\u0627\u0644\u0645", "x" * 90, LONG,
    LONG.replace(" ", "! "),
]  # fmt: skip


def unet_name(name: str) -> str:
    for new, old in UNET_ENDS.items():
        if name.startswith(new + "."):
            return old + name[len(new) :]
    block = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)", name)
    middle = re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d+)\.(.*)", name)
    side, number, kind, layer, rest = block.groups() if block else ("middle", 0, middle[1], middle[2], middle[3])
    number, layer = int(number), int(layer)
    if kind == "resnets":
        part, end = rest.rsplit(".", 1)
        rest = f"{RESNET[part]}.{end}"
    if side == "middle":
        return f"middle_block.{1 if kind == 'attentions' else 2 * layer}.{rest}"
    if kind == "downsamplers":
        return f"input_blocks.{PER_BLOCK * (number + 1)}.0.op.{rest.removeprefix('conv.')}"
    if side == "down":
        return f"input_blocks.{1 + PER_BLOCK * number + layer}.{0 if kind == 'resnets' else 1}.{rest}"
    if kind == "upsamplers":
        return f"output_blocks.{PER_BLOCK * number + 2}.UPSAMPLER.{rest}"
    return f"output_blocks.{PER_BLOCK * number + layer}.{0 if kind == 'resnets' else 1}.{rest}"


def place_upsamplers(table: dict) -> dict:
    """After the attention of its entry, if there is one."""
    def placed(name: str) -> str:
        entry = name.split(".UPSAMPLER.")[0]
        has_attention = any(other.startswith(entry + ".1.") for other in table)
        return name.replace(".UPSAMPLER.", ".2." if has_attention else ".1.")

    return {placed(name): value for name, value in table.items()}


def vae_name(name: str, levels: int) -> str:
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    for new, old in VAE_ATTENTION.items():
        name = name.replace(f"mid_block.attentions.0.{new}.", f"mid.attn_1.{old}.")
    name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name).replace("downsamplers.0", "downsample")
    name = re.sub(r"down_blocks\.(\d)", r"down.\1", name)
    name = re.sub(r"up_blocks\.(\d)", lambda m: f"up.{levels - 1 - int(m[1])}", name)
    return re.sub(r"(up\.\d)\.resnets", r"\1.block", name).replace("upsamplers.0", "upsample")


def open_clip_entries(names: list[str]) -> dict[str, list[str]]:
    table = {}
    for name in names:
        short = name.removeprefix("text_model.")
        layer = re.fullmatch(r"encoder\.layers\.(\d+)\.(.*)\.(weight|bias)", short)
        if layer and layer[2].startswith("self_attn.") and layer[2] != "self_attn.out_proj":
            stacked = [name.replace(layer[2], f"self_attn.{part}_proj") for part in "qkv"]
            table[f"transformer.resblocks.{layer[1]}.attn.in_proj_{layer[3]}"] = stacked
        elif layer:
            table[f"transformer.resblocks.{layer[1]}.{CLIP_LAYER[layer[2]]}.{layer[3]}"] = [name]
        elif short == "embeddings.position_embedding.weight":
            table["positional_embedding"] = [name]
        elif short == "text_projection.weight":
            table["text_projection"] = [name]
        else:
            table[short.replace("embeddings.token_embedding", "token_embedding").replace("final_layer_norm", "ln_final")] = [name]
    return table


def current_tensors(family: str, component: str) -> dict[str, torch.Tensor]:
    """Under the names of today's modules, with `text_model.`."""
    file = "model" if component.startswith("text") else "diffusion_pytorch_model"
    tensors = load_file(DIFFUSION / family / "model" / component / f"{file}.safetensors")
    if component.startswith("text"):
        return {n if n.startswith("text_") else "text_model." + n: tensor for n, tensor in tensors.items()}
    for new, old in OLD_ATTENTION_NAMES.items():
        tensors = {name.replace(f"attentions.0.{old}.", f"attentions.0.{new}."): tensor for name, tensor in tensors.items()}
    return tensors


def table_of(family: str) -> dict[str, list]:
    unet = place_upsamplers({unet_name(name): [name] for name in current_tensors(family, "unet")})
    table = {"model.diffusion_model." + name: ["unet", names] for name, names in unet.items()}
    table |= {f"first_stage_model.{vae_name(name, 4)}": ["vae", [name]] for name in current_tensors(family, "vae")}
    for component, (prefix, is_open_clip) in PREFIXES[family].items():
        names = list(current_tensors(family, component))
        entries = open_clip_entries(names) if is_open_clip else {name: [name] for name in names}
        table |= {prefix + name: [component, stored] for name, stored in entries.items()}
    return table


def stored_tensor(name: str, parts: list[torch.Tensor]) -> torch.Tensor:
    whole = torch.cat(parts)
    if name.endswith("text_projection"):
        return whole.T.contiguous()
    is_attention = re.search(r"\.mid\.attn_1\.(q|k|v|proj_out)\.weight$", name)
    return whole[:, :, None, None] if is_attention else whole


def write_single_file(family: str, table: dict, file: Path) -> None:
    tensors = {component: current_tensors(family, component) for component in {component for component, _ in table.values()}}
    save_file({name: stored_tensor(name, [tensors[c][n] for n in names]).contiguous() for name, (c, names) in table.items()}, file)


def check_with_diffusers(family: str, file: Path) -> None:
    pipeline_class = StableDiffusionXLPipeline if family == "sdxl" else StableDiffusionPipeline
    folder = DIFFUSION / family / "model"
    options = {"torch_dtype": torch.float32, "config": str(folder), "local_files_only": True}
    single = pipeline_class.from_single_file(str(file), **options)
    whole = pipeline_class.from_pretrained(folder, torch_dtype=torch.float32)
    for component in ("unet", "vae", "text_encoder", "text_encoder_2"):
        if getattr(whole, component, None) is not None:
            ours, theirs = getattr(single, component).state_dict(), getattr(whole, component).state_dict()
            if component == "text_encoder_2":  # which from_single_file only finds if it has ten layers
                prefix = PREFIXES[family][component][0]
                ours = convert_open_clip_checkpoint(whole.text_encoder_2, load_file(file), prefix)
                ours = {name: tensor.float() for name, tensor in ours.items()}
            assert ours.keys() == theirs.keys()
            different = [name for name in theirs if not torch.equal(ours[name], theirs[name])]
            assert not different, f"{family} {component}: {different}"


def shortened(family: str, table: dict) -> dict[str, dict]:
    """By component, one entry for a weight and its bias."""
    prefixes = {"unet": "model.diffusion_model.", "vae": "first_stage_model."}
    prefixes |= {component: prefix for component, (prefix, _) in PREFIXES[family].items()}
    short = {component: {"prefix": prefix, "names": {}} for component, prefix in prefixes.items()}
    for name, (component, parts) in table.items():
        own = name.removeprefix(prefixes[component])
        if own.endswith(("weight", "bias")):
            own, parts = re.sub("(weight|bias)$", "", own), [re.sub("(weight|bias)$", "", part) for part in parts]
        short[component]["names"][own] = parts if len(parts) > 1 else parts[0]
    return short


def texts() -> list[dict]:
    tokenizers = {family: CLIPTokenizer.from_pretrained(DIFFUSION / family / "model" / "tokenizer") for family in ("sd1", "sd2")}
    rows = []
    for text in TEXTS:
        row = {"text": text}
        for family, tokenizer in tokenizers.items():
            row[family] = tokenizer(text, padding="max_length", max_length=77, truncation=True).input_ids
            row[f"{family}_cut"] = max(0, len(tokenizer(text).input_ids) - 77)
        rows.append(row)
    return rows


def main() -> None:
    be_quiet()
    tables = {family: table_of(family) for family in FAMILIES}
    for family, table in tables.items():
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.safetensors"
            write_single_file(family, table, file)
            check_with_diffusers(family, file)
    short = {family: shortened(family, table) for family, table in tables.items()}
    (DIFFUSION / "single_files.json").write_text(json.dumps(short, indent=0, separators=(",", ":")) + "\n", encoding="utf-8")
    rows = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in texts()]
    (DIFFUSION / "texts.json").write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
