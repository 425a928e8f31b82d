#!/usr/bin/env python3
"""Makes tests/data/special_tokens: what TRL's SFTTrainer makes of rows that hold the text of special tokens.

    trl.json                 ids and labels of rows of text and of prompts and completions, by two tokenizers of tests/data/tokenizer_json
    base                     a small model with a tokenizer of bytes; its EOS stands in special_tokens_map.json alone
    text.jsonl pairs.jsonl   rows for it, and in losses.json their ids and the model's loss on them

Needs: scripts/golden/requirements.txt, trl, datasets. Usage: trl_texts.py [output folder]
"""

import json
import os
import pathlib
import shutil
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import datasets  # noqa: E402
import torch  # noqa: E402
import tokenizers  # noqa: E402
import transformers  # noqa: E402
import trl  # noqa: E402

DATA = pathlib.Path(__file__).parents[2] / "tests/data"
# One tokenizer puts a BOS before a text, the other puts nothing around it.
TOKENIZERS = {
    "llama3": {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
    "qwen2": {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>"},
}


def rows(bos, eos):
    texts = ["plain text", f"ends{eos}", f"ends{eos}\n", f"{eos} begins", f"two{eos}{eos}", f"{bos}begins", f"{bos}{bos}", "a<|im_start|>user\nhi",
             "<|endoftext|>x<tool_call> y</tool_call>", "almost <|im_start|", f"a {eos} b"]
    pairs = [("hi", " there"), ("hi ", "there"), (f"hi{eos}", " there"), ("hi", f" there{eos}"), (f"hi{eos}", eos), (f"{bos}hi", "x"), ("<|im_st", "art|>x"),
             ("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n", "yo<|im_end|>"), ("hi", f"{eos}\n"), ("", "x"), ("river", "stone")]
    return [{"text": text} for text in texts], [{"prompt": prompt, "completion": completion} for prompt, completion in pairs]


def prepared(tokenizer, examples):
    config = transformers.LlamaConfig(vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    with tempfile.TemporaryDirectory() as folder:
        trainer = trl.SFTTrainer(
            model=transformers.LlamaForCausalLM(config), processing_class=tokenizer, train_dataset=datasets.Dataset.from_list(examples),
            args=trl.SFTConfig(output_dir=folder, report_to="none", max_length=None, use_cpu=True, bf16=False))
        return [{"ids": row["input_ids"], "labels": row["labels"]} for row in trainer.train_dataset]


def bytes_tokenizer():
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={letter: i for i, letter in enumerate(sorted(
        tokenizers.pre_tokenizers.ByteLevel.alphabet()))}, merges=[]))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|im_start|>", "<|end|>", "<|im_end|>"])
    return tokenizer


def write_base(target):
    """A model whose config.json names another EOS than its tokenizer."""
    shutil.rmtree(target / "base", ignore_errors=True)
    torch.manual_seed(5)
    config = transformers.LlamaConfig(vocab_size=270, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
                                      num_key_value_heads=1, max_position_embeddings=128, bos_token_id=None, eos_token_id=257)
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(target / "base")
    (target / "base/model.safetensors").chmod(0o644)
    bytes_tokenizer().save(str(target / "base/tokenizer.json"), pretty=False)
    (target / "base/tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}\n')
    (target / "base/special_tokens_map.json").write_text('{"eos_token": "<|im_end|>"}\n')
    return model


def losses(model, rows):
    ids = [torch.tensor([row["ids"]]) for row in rows]
    labels = [torch.tensor([row["labels"]]) for row in rows]
    counts = [int((label[:, 1:] != -100).sum()) for label in labels]
    total = sum(float(model(input_ids=i, labels=label).loss) * count for i, label, count in zip(ids, labels, counts))
    return {"ids": [row["ids"] for row in rows], "num_tokens": sum(counts), "loss": total / sum(counts)}


def write_losses(target):
    model = write_base(target)
    tokenizer = transformers.AutoTokenizer.from_pretrained(target / "base")
    files = {"text": [{"text": "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyo<|im_end|>\n"}, {"text": "plain <|end|>"}],
             "pairs": [{"prompt": "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n", "completion": "yo<|im_end|>"},
                       {"prompt": "a", "completion": " b"}]}
    result = {}
    for name, examples in files.items():
        (target / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in examples))
        result[name] = losses(model, prepared(tokenizer, examples))
    (target / "losses.json").write_text(json.dumps(result) + "\n")


def main():
    target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else DATA / "special_tokens")
    target.mkdir(parents=True, exist_ok=True)
    result = {"versions": {"transformers": transformers.__version__, "trl": trl.__version__}, "tokenizers": []}
    for kind, settings in TOKENIZERS.items():
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(DATA / f"tokenizer_json/{kind}.json", pathlib.Path(folder) / "tokenizer.json")
            (pathlib.Path(folder) / "tokenizer_config.json").write_text(json.dumps(settings))
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        texts, pairs = rows(settings.get("bos_token", "<|endoftext|>"), settings["eos_token"])
        made = [[{"row": row, **expected} for row, expected in zip(examples, prepared(tokenizer, examples))] for examples in (texts, pairs)]
        result["tokenizers"].append({"kind": kind, "settings": settings, "text": made[0], "prompt_completion": made[1]})
    write_losses(target)
    (target / "trl.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
