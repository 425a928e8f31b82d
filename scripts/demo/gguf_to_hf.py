#!/usr/bin/env python3
"""Converts the GGUF file of SmolLM2 into a Hugging Face folder that lora-train and transformers load.

    gguf_to_hf.py MODEL.gguf OUTPUT_DIR

Writes config.json, model.safetensors (bfloat16), tokenizer.json and tokenizer_config.json. Needs numpy and gguf, no torch.
Quantised weights are dequantised, so they are the weights that llama.cpp computes with, not the published ones.
This script goes away as soon as lora-train reads a GGUF file as its base model.
"""
import argparse
import json
import pathlib
import re
import struct

import numpy
from gguf import GGUFReader
from gguf.quants import dequantize

ROOT_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
LAYER_NAMES = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# Kinds of tokens in a GGUF file.
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4


class Metadata:
    """The metadata of a GGUF file by key; `model` reads the keys that belong to its architecture."""

    def __init__(self, reader):
        self.fields = reader.fields

    def get(self, key, default=None):
        return self.fields[key].contents() if key in self.fields else default

    def model(self, key, default=None):
        return self.get(f"llama.{key}", default)


def require(condition, message):
    if not condition:
        raise SystemExit(f"error: {message}")


def make_config(meta):
    heads = meta.model("attention.head_count")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(meta.get("tokenizer.ggml.tokens")),
        "hidden_size": meta.model("embedding_length"),
        "intermediate_size": meta.model("feed_forward_length"),
        "num_hidden_layers": meta.model("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": meta.model("attention.head_count_kv", heads),
        "hidden_act": "silu",
        "max_position_embeddings": meta.model("context_length"),
        # Stored as float32: six digits give the number that was meant.
        "rms_norm_eps": float(f"{meta.model('attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_theta": float(meta.model("rope.freq_base", 10000.0)),
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": meta.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": meta.get("tokenizer.ggml.eos_token_id"),
        "pad_token_id": meta.get("tokenizer.ggml.padding_token_id"),
        "torch_dtype": "bfloat16",
    }


def hugging_face_name(name):
    stem, leaf = name.rsplit(".", 1)
    layer = re.fullmatch(r"blk\.(\d+)\.(\w+)", stem)
    if layer and layer[2] in LAYER_NAMES:
        return f"model.layers.{layer[1]}.{LAYER_NAMES[layer[2]]}.{leaf}"
    require(stem in ROOT_NAMES, f"the GGUF file has a tensor '{name}', which a Llama model with tied embeddings does not have")
    return f"{ROOT_NAMES[stem]}.{leaf}"


def split_rotary_halves(weight, heads):
    """llama.cpp keeps the two numbers of a rotary pair next to each other, Hugging Face in the two halves of a head."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def to_bfloat16(values):
    """The upper halves of float32 values, rounded to the nearest, ties to even."""
    bits = numpy.ascontiguousarray(values, dtype=numpy.float32).view(numpy.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def convert_tensors(reader, config):
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    tensors = {}
    for tensor in reader.tensors:
        name = hugging_face_name(tensor.name)
        weight = dequantize(tensor.data, tensor.tensor_type)
        module = name.split(".")[-2]
        if module in heads:
            weight = split_rotary_halves(weight, heads[module])
        tensors[name] = to_bfloat16(weight)
    return tensors


def write_safetensors(file, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, tensor in sorted(tensors.items()):
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [offset, offset + tensor.nbytes]}
        offset += tensor.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for _, tensor in sorted(tensors.items()):
            stream.write(tensor.tobytes())


def make_tokenizer(meta):
    """tokenizer.json: byte-level BPE that splits numbers into digits."""
    tokens, kinds = meta.get("tokenizer.ggml.tokens"), meta.get("tokenizer.ggml.token_type")
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    added = [{"id": id, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": kind == CONTROL}
             for id, (token, kind) in enumerate(zip(tokens, kinds)) if kind in (CONTROL, USER_DEFINED)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {token: id for id, (token, kind) in enumerate(zip(tokens, kinds)) if kind in (NORMAL, CONTROL)},
            "merges": meta.get("tokenizer.ggml.merges"),
        },
    }


def make_tokenizer_config(meta):
    tokens = meta.get("tokenizer.ggml.tokens")
    named = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    return {
        # The class that uses tokenizer.json as it is: GPT2Tokenizer has its own pre-tokenizer in transformers 5.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": meta.model("context_length"),
        "clean_up_tokenization_spaces": False,
        "add_bos_token": bool(meta.get("tokenizer.ggml.add_bos_token", False)),
        "add_eos_token": bool(meta.get("tokenizer.ggml.add_eos_token", False)),
        **{key: tokens[meta.get(f"tokenizer.ggml.{name}_token_id")] for key, name in named.items()},
        "chat_template": meta.get("tokenizer.chat_template"),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gguf", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    arguments = parser.parse_args()
    reader = GGUFReader(arguments.gguf)
    meta = Metadata(reader)
    for key, expected in (("general.architecture", "llama"), ("tokenizer.ggml.model", "gpt2"), ("tokenizer.ggml.pre", "smollm")):
        require(meta.get(key) == expected, f"{arguments.gguf}: {key} is '{meta.get(key)}', expected '{expected}'")

    arguments.output.mkdir(parents=True, exist_ok=True)
    config = make_config(meta)
    tensors = convert_tensors(reader, config)
    write_safetensors(arguments.output / "model.safetensors", tensors)
    files = {"config.json": config, "tokenizer.json": make_tokenizer(meta), "tokenizer_config.json": make_tokenizer_config(meta)}
    for name, content in files.items():
        (arguments.output / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(tensors)} tensors, {sum(tensor.size for tensor in tensors.values()):,} parameters in {arguments.output}")


if __name__ == "__main__":
    main()
