"""Creates a base model with random weights and an initial adapter, as transformers and PEFT save them.

    python prepare.py --config config.json --dtype float32 --model DIR --targets q_proj v_proj --rank 16 --alpha 32 --adapter DIR

Folders that exist are left alone. The adapter has PEFT's initial values: A random, B zero.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM


def save_whole(folder: Path, save) -> None:
    """A folder that exists is complete."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    save(unfinished)
    unfinished.rename(folder)


def make_model(config: dict, dtype: str, folder: Path) -> None:
    torch.manual_seed(1)
    model = LlamaForCausalLM(LlamaConfig(**config)).to(getattr(torch, dtype))
    save_whole(folder, model.save_pretrained)


def make_adapter(model: Path, options: argparse.Namespace) -> None:
    torch.manual_seed(2)
    lora = LoraConfig(r=options.rank, lora_alpha=options.alpha, lora_dropout=0.0, target_modules=options.targets, task_type="CAUSAL_LM")
    peft_model = get_peft_model(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), lora)
    save_whole(options.adapter, peft_model.save_pretrained)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--dtype", required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--targets", nargs="+", required=True)
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--alpha", type=int, required=True)
    parser.add_argument("--adapter", type=Path, required=True)
    options = parser.parse_args()
    if not options.model.exists():
        make_model(json.loads(options.config.read_text(encoding="utf-8")), options.dtype, options.model)
    if not options.adapter.exists():
        make_adapter(options.model, options)


if __name__ == "__main__":
    main()
