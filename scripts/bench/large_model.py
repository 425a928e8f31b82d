"""Writes a Llama model with random bfloat16 weights, one shard per layer, so that memory holds one shard at a time.

    python large_model.py --config config.json --model DIR

A folder that exists is complete and left alone.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file


def matrix(rows: int, columns: int, deviation: float) -> torch.Tensor:
    return (torch.randn(rows, columns) * deviation).to(torch.bfloat16)


def layer(config: dict, index: int) -> dict[str, torch.Tensor]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    kv = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    sizes = {
        "self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (kv, hidden), "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, hidden), "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }  # fmt: skip
    tensors = {f"{name}.weight": matrix(*size, config["initializer_range"]) for name, size in sizes.items()}
    for norm in ("input_layernorm", "post_attention_layernorm"):
        tensors[f"{norm}.weight"] = torch.ones(hidden, dtype=torch.bfloat16)
    return {f"model.layers.{index}.{name}": tensor for name, tensor in tensors.items()}


def outer(config: dict) -> dict[str, torch.Tensor]:
    size = (config["vocab_size"], config["hidden_size"])
    tensors = {"model.embed_tokens.weight": matrix(*size, config["initializer_range"])}
    tensors["model.norm.weight"] = torch.ones(config["hidden_size"], dtype=torch.bfloat16)
    if not config["tie_word_embeddings"]:
        tensors["lm_head.weight"] = matrix(*size, config["initializer_range"])
    return tensors


def write_model(config: dict, folder: Path) -> None:
    torch.manual_seed(1)
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    weight_map, size, last = {}, 0, config["num_hidden_layers"]
    for index in range(last + 1):
        tensors = layer(config, index) if index < last else outer(config)
        shard = f"model-{index + 1:05}-of-{last + 1:05}.safetensors"
        save_file(tensors, unfinished / shard, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, shard)
        size += sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (unfinished / "model.safetensors.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
    complete = config | {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "dtype": "bfloat16"}
    (unfinished / "config.json").write_text(json.dumps(complete, indent=1), encoding="utf-8")
    os.replace(unfinished, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    options = parser.parse_args()
    if not options.model.exists():
        write_model(json.loads(options.config.read_text(encoding="utf-8")), options.model)


if __name__ == "__main__":
    main()
