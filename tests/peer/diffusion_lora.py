"""Converts adapters of the small text-to-image pipelines with lora-convert, loads the files with diffusers, and compares the UNet's and the
text encoders' results with those of PEFT; so for lora-merge's folders, and for files that diffusers wrote, as PEFT folders.

    python diffusion_lora.py --lora-convert BIN --lora-merge BIN --data tests/data/diffusion

Exit status: 0 equal, 1 not.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import safetensors.torch
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.utils import logging
from peft import PeftModel

PIPELINES = {"sd1": StableDiffusionPipeline, "sd2": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}
TOLERANCE = 1e-5  # of the largest value


def load(family: str, folder: Path):
    return PIPELINES[family].from_pretrained(folder, torch_dtype=torch.float32)


def text_encoders(pipeline) -> dict[str, torch.nn.Module]:
    names = ("text_encoder", "text_encoder_2")
    return {name: getattr(pipeline, name) for name in names if getattr(pipeline, name, None) is not None}


@torch.no_grad()
def results(unet: torch.nn.Module, encoders: dict[str, torch.nn.Module]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    sample = torch.randn(2, 4, 16, 16, generator=generator)
    text = torch.randn(2, 77, unet.config.cross_attention_dim, generator=generator)
    added = {"text_embeds": torch.randn(2, 16, generator=generator), "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2)}
    more = {"added_cond_kwargs": added} if unet.config.addition_embed_type else {}
    found = {"unet": unet(sample, torch.tensor([10, 700]), text, **more).sample}
    ids = torch.randint(0, 600, (2, 77), generator=generator)
    return found | {name: encoder(ids).last_hidden_state for name, encoder in encoders.items()}


def require_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], what: str) -> None:
    for name, tensor in expected.items():
        difference = ((found[name] - tensor).abs().max() / tensor.abs().max()).item()
        print(f"{what} {name}: {difference:.1e}")
        if not difference <= TOLERANCE:
            sys.exit(f"FAILED: {what}: {name} differs by {difference:.1e} of its largest value")


def with_peft(family: str, model: Path, adapter: Path) -> dict[str, torch.Tensor]:
    """What PEFT computes from its folders. Modules of a text encoder have the names of transformers 4 in files."""
    pipeline = load(family, model)
    unet = PeftModel.from_pretrained(pipeline.unet, adapter) if (adapter / "adapter_config.json").exists() else pipeline.unet
    encoders = text_encoders(pipeline)
    for name, encoder in encoders.items():
        if (adapter / name).exists():
            mapping = None if hasattr(encoder, "text_model") else {r"text_model\.": ""}
            encoders[name] = PeftModel.from_pretrained(encoder, adapter / name, key_mapping=mapping)
    return results(unet, encoders)


def with_diffusers(family: str, model: Path, file: Path) -> dict[str, torch.Tensor]:
    pipeline = load(family, model)
    pipeline.load_lora_weights(file)
    return results(pipeline.unet, text_encoders(pipeline))


def run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def compare_hashes(arguments: argparse.Namespace, out: Path) -> None:
    """sd-scripts' hashes of a file of more than 1 MiB: of the bytes that it would have with metadata of ss_ keys alone."""
    file = out / "large.safetensors"
    run(arguments.lora_convert, "--adapter", arguments.data / "lora/sdxl/peft", "--resize", "256", "--to", "kohya", "--output", file)
    with safetensors.safe_open(file, "pt") as stored:
        metadata = stored.metadata()
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}
    kept = {key: value for key, value in metadata.items() if key.startswith("ss_")}
    content = safetensors.torch.save(tensors, kept)
    header = 8 + int.from_bytes(content[:8], "little")
    expected = hashlib.sha256(content[header:]).hexdigest(), hashlib.sha256(content[0x100000:0x110000]).hexdigest()[:8]
    if len(content) < 0x110000 or (metadata["sshs_model_hash"], metadata["sshs_legacy_hash"]) != expected:
        sys.exit(f"FAILED: hashes: found {metadata['sshs_model_hash']}, {metadata['sshs_legacy_hash']}, expected {expected}")


def compare(family: str, case: str, arguments: argparse.Namespace, out: Path) -> None:
    model, files = arguments.data / family / "model", arguments.data / "lora" / case
    expected = with_peft(family, model, files / "peft")
    base = results(load(family, model).unet, {})
    if torch.equal(base["unet"], expected["unet"]):
        sys.exit(f"FAILED: {case}: the adapter changes nothing")
    for name, options in (("diffusers", []), ("kohya", ["--model", model]), ("baked", ["--bake"])):
        if case.endswith("dora") and name == "kohya":
            continue  # diffusers leaves out dora_scale
        file = out / f"{case}_{name}.safetensors"
        run(arguments.lora_convert, "--adapter", files / "peft", "--to", "kohya" if name == "kohya" else "diffusers", "--output", file, *options)
        require_equal(with_diffusers(family, model, file), expected, f"{case} {name}")
    run(arguments.lora_merge, "--model", model, "--adapter", files / "kohya.safetensors", "--dtype", "float32", "--output", out / f"{case}_merged")
    merged = load(family, out / f"{case}_merged")
    require_equal(results(merged.unet, text_encoders(merged)), expected, f"{case} merged")
    run(arguments.lora_convert, "--adapter", files / "diffusers.safetensors", "--to", "peft", "--output", out / f"{case}_peft")
    require_equal(with_peft(family, model, out / f"{case}_peft"), expected, f"{case} of diffusers as PEFT")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lora-convert", required=True, type=Path)
    parser.add_argument("--lora-merge", required=True, type=Path)
    parser.add_argument("--data", required=True, type=Path)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        compare_hashes(arguments, Path(folder))
        for case in ("sd1", "sd2", "sdxl", "sd1_dora"):
            compare(case.removesuffix("_dora"), case, arguments, Path(folder))


if __name__ == "__main__":
    main()
