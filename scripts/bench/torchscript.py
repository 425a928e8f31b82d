#!/usr/bin/env python3
"""Trains one Llama in three ways, one after the other: eager Python with its own LoRA, lora-train on the model's trace, and
lora-train on its safetensors.

    peer/bin/python scripts/bench/torchscript.py --lora-train build/release/bin/lora-train [--threads 1] [--steps 6] [--size small]

Prints input tokens per second of each (the median step, without the first) and the losses of the last step, which must
agree. The weights are random; each document has 128 random ids, so nothing is padded.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parents[1]))
from export_torchscript import logits_of

RANK, ALPHA, RATE, LENGTH, ROWS = 8, 16, 1e-4, 128, 4
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SIZES = {  # hidden, feed-forward, layers, heads, key and value heads, vocabulary
    "small": (384, 1024, 6, 6, 3, 8192),
    "135m": (576, 1536, 30, 9, 3, 49152),
}


def make_model(size: str):
    hidden, inner, layers, heads, kv_heads, vocabulary = SIZES[size]
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=vocabulary, hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=kv_heads, max_position_embeddings=2048, tie_word_embeddings=False, attn_implementation="sdpa")  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def write_inputs(folder: Path, model, steps: int):
    """Writes the model in both forms, the rows, and an initial adapter for each form."""
    model.save_pretrained(folder / "model")
    ids = torch.randint(0, model.config.vocab_size, (2, 8))
    mask = torch.tensor([[1] * 8, [1] * 5 + [0] * 3])
    torch.jit.save(torch.jit.trace(logits_of(model), (ids, mask), check_trace=False), str(folder / "model.pt"))
    rows = torch.randint(0, model.config.vocab_size, (steps * ROWS, LENGTH)).tolist()
    (folder / "rows.jsonl").write_text("".join(json.dumps({"input_ids": row}) + "\n" for row in rows))
    pairs = {}
    for name, part in model.named_modules():
        if name.rsplit(".", 1)[-1] in TARGETS:
            outputs, inputs = part.weight.shape
            pairs[name] = (torch.randn(RANK, inputs) / inputs**0.5, torch.zeros(outputs, RANK))
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "target_modules": list(TARGETS)}
    for kind, prefix in (("safetensors", ""), ("torchscript", "model.")):
        adapter = folder / f"adapter-{kind}"
        adapter.mkdir()
        tensors = {}
        for name, (A, B) in pairs.items():
            tensors[f"base_model.model.{prefix}{name}.lora_A.weight"] = A
            tensors[f"base_model.model.{prefix}{name}.lora_B.weight"] = B
        save_file(tensors, adapter / "adapter_model.safetensors")
        (adapter / "adapter_config.json").write_text(json.dumps(config))
    return rows, pairs, config


def eager(model, rows, pairs, steps: int):
    """Seconds and loss of each step."""
    model.requires_grad_(False)
    parameters = []
    for name, (A, B) in pairs.items():
        A, B = A.clone().requires_grad_(True), B.clone().requires_grad_(True)
        parameters += [A, B]
        part = model.get_submodule(name)
        part.register_forward_hook(lambda part, inputs, output, A=A, B=B: output + ALPHA / RANK * (inputs[0] @ A.T @ B.T))
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0, fused=True)
    seconds, losses = [], []
    for step in range(steps):
        begin = time.perf_counter()
        ids = torch.tensor(rows[step * ROWS:(step + 1) * ROWS])
        logits = model(input_ids=ids, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - begin)
        losses.append(loss.item())
    return [ROWS * LENGTH / s for s in seconds], losses


def ours(program: str, folder: Path, kind: str, config: dict, steps: int, threads: int):
    run = {
        "model": {"path": "model.pt" if kind == "torchscript" else "model", "trust_torchscript": kind == "torchscript", "device": "cpu"},
        "adapter": config | {"init_from": f"adapter-{kind}"},
        "data": {"train": [{"path": "rows.jsonl", "format": "tokens"}], "shuffle": False},
        "training": {"max_steps": steps, "per_device_train_batch_size": ROWS, "learning_rate": RATE, "lr_scheduler_type": "constant",
                     "weight_decay": 0.0, "logging_steps": 1, "save_steps": 0},
        "output_dir": f"out-{kind}"}  # fmt: skip
    (folder / f"{kind}.json").write_text(json.dumps(run))
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    subprocess.run([program, "--config", str(folder / f"{kind}.json"), "--quiet"], check=True, env=environment)
    rows = [json.loads(line) for line in (folder / f"out-{kind}" / "metrics.jsonl").read_text().splitlines()]
    rows = [row for row in rows if "loss" in row]
    return [row["tokens_per_second"] for row in rows], [row["loss"] for row in rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lora-train", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--size", choices=SIZES, default="small")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = make_model(arguments.size)
        rows, pairs, config = write_inputs(folder, model, arguments.steps)
        results = {"eager Python": eager(model, rows, pairs, arguments.steps)}
        del model
        for kind in ("torchscript", "safetensors"):
            results[f"lora-train, {kind}"] = ours(arguments.lora_train, folder, kind, config, arguments.steps, arguments.threads)
    for name, (rates, losses) in results.items():
        print(f"{name:26} {statistics.median(rates[1:]):9.0f} tokens/s   loss {losses[-1]:.5f}")
    finals = [losses[-1] for _, losses in results.values()]
    if max(finals) - min(finals) > 1e-3:
        sys.exit("error: the losses differ, so the runs did not compute the same")


if __name__ == "__main__":
    main()
