"""Writes packed folders with lora-convert --quantize and lora-merge --requantize, loads them with transformers + bitsandbytes, and compares
the logits with those of the same base, quantised by transformers while it loads. Both are in training mode, because bitsandbytes computes
something else in evaluation mode on some CPUs.

    python quantized_folders.py --lora-convert BIN --lora-merge BIN --data tests/data

Exit status: 0 equal, 1 not.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, BitsAndBytesConfig
from transformers.utils import logging

TYPES = ["nf4", "nf4-dq", "fp4", "fp4-dq", "int8"]
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
# folder, the class, and what its training mode must not do
MODELS = [("quantized/training/nf4/model", AutoModelForCausalLM, {}),
          ("families/gpt2/model", AutoModelForCausalLM, NO_DROPOUT),
          ("classification/bert_full/model", AutoModelForSequenceClassification,
           {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.0})]  # fmt: skip


def bitsandbytes_config(word, skipped):
    if word == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skipped)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type=word.removesuffix("-dq"), bnb_4bit_use_double_quant=word.endswith("-dq"),
        bnb_4bit_compute_dtype=torch.float32, llm_int8_skip_modules=skipped)  # fmt: skip


@torch.no_grad()
def logits_of(model):
    ids = torch.randint(1, model.config.vocab_size, (2, 17), generator=torch.Generator().manual_seed(1))
    return model.train()(input_ids=ids).logits


def num_packed(model):
    return sum(isinstance(module, (Linear4bit, Linear8bitLt)) for module in model.modules())


def fail_unless(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")


def compare_conversion(program, base, auto, changes, word, folder):
    subprocess.run([program, "--quantize", word, "--model", base, "--dtype", "float32", "--output", folder], check=True, stdout=subprocess.DEVNULL)
    skipped = json.loads((folder / "config.json").read_text())["quantization_config"]["llm_int8_skip_modules"]
    ours = auto.from_pretrained(folder, dtype=torch.float32, **changes)
    theirs = auto.from_pretrained(base, dtype=torch.float32, quantization_config=bitsandbytes_config(word, skipped), **changes)
    found, expected = logits_of(ours), logits_of(theirs)
    same = num_packed(ours) == num_packed(theirs) > 0
    print(f"{base.parent.name:12} {word:7} {num_packed(ours):3} packed layers, largest difference {(found - expected).abs().max():.1e}")
    fail_unless(same and torch.equal(found, expected), f"{base} {word}: other logits, or {num_packed(theirs)} packed layers expected")


def compare_merge(program, data, folder):
    base, adapter = data / "quantized/bitsandbytes_models/nf4", data / "quantized/training/nf4_dq/adapter"
    subprocess.run([program, "--model", base, "--adapter", adapter, "--requantize", "--output", folder], check=True, stdout=subprocess.DEVNULL)
    ours = AutoModelForCausalLM.from_pretrained(folder)
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base).train(), adapter).merge_and_unload()
    found, expected = logits_of(ours), logits_of(theirs)
    print(f"merged and packed again: largest difference {(found - expected).abs().max():.1e}")
    fail_unless(torch.equal(found, expected), "the merged model has other logits than PEFT's")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lora-convert", required=True)
    parser.add_argument("--lora-merge", required=True)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for base, auto, changes in MODELS:
            for word in TYPES:
                compare_conversion(arguments.lora_convert, arguments.data / base, auto, changes, word,
                                   Path(folder) / f"{base.replace('/', '_')}-{word}")  # fmt: skip
        compare_merge(arguments.lora_merge, arguments.data, Path(folder) / "merged")


if __name__ == "__main__":
    main()
