"""Writes rope.json: inv_freq and attention factor of the RoPE dialects, from transformers' ROPE_INIT_FUNCTIONS."""

import copy

import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

LLAMA3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 2048}
LONGROPE = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0, 1.1, 1.3, 2.5], "long_factor": [1.2, 2.0, 5.0, 30.0]}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
SHAPE = {"hidden_size": 256, "num_attention_heads": 4, "max_position_embeddings": 8192}


def v5(rope: dict, **changes) -> dict:
    return SHAPE | {"rope_parameters": rope} | changes


# name -> (the relevant keys of config.json, document lengths; None: the frequencies do not depend on the length)
SETS: dict[str, tuple[dict, list[int | None]]] = {
    "default": (v5({"rope_type": "default", "rope_theta": 10000.0}), [None]),
    "default_head_dim": (v5({"rope_type": "default", "rope_theta": 500000.0}, head_dim=80), [None]),
    "default_head_dim_null": (v5({"rope_type": "default", "rope_theta": 10000.0}, head_dim=None), [None]),
    "default_no_rope_keys": (dict(SHAPE), [None]),
    "default_v4": (SHAPE | {"rope_theta": 1000000.0, "rope_scaling": None}, [None]),
    "default_v4_no_theta": (SHAPE | {"rope_scaling": None}, [None]),
    "linear": (v5({"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.5}), [None]),
    "linear_partial": (v5({"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0, "partial_rotary_factor": 0.5}), [None]),
    "linear_v4_type": (SHAPE | {"rope_theta": 20000.0, "rope_scaling": {"type": "linear", "factor": 2.0}}, [None]),
    "linear_v4_no_theta": (SHAPE | {"rope_scaling": {"rope_type": "linear", "factor": 3.0}}, [None]),
    "dynamic": (v5(DYNAMIC, max_position_embeddings=2048), [1, 2047, 2048, 2049, 3000, 4096, 10000]),
    "dynamic_head_dim": (v5(DYNAMIC | {"factor": 4.5}, max_position_embeddings=16, head_dim=10), [5, 16, 17, 40]),
    "dynamic_partial": (v5(DYNAMIC | {"partial_rotary_factor": 0.25}, max_position_embeddings=100), [100, 250]),
    "dynamic_v4": (SHAPE | {"rope_theta": 10000.0, "rope_scaling": {"type": "dynamic", "factor": 8.0}}, [8000, 9000]),
    "llama3": (v5(LLAMA3 | {"original_max_position_embeddings": 4096}), [None]),
    "llama3_short": (v5(LLAMA3 | {"original_max_position_embeddings": 16, "rope_theta": 10000.0}, max_position_embeddings=64), [None]),
    "llama3_32": (v5(LLAMA3 | {"original_max_position_embeddings": 1024, "factor": 32.0}, head_dim=128), [None]),
    "llama3_partial": (v5(LLAMA3 | {"original_max_position_embeddings": 512, "partial_rotary_factor": 0.75}), [None]),
    "llama3_v4": (SHAPE | {"rope_theta": 500000.0, "rope_scaling": {
        key: value for key, value in LLAMA3.items() if key != "rope_theta"} | {"original_max_position_embeddings": 2048}}, [None]),
    "yarn": (v5(YARN), [None]),
    "yarn_betas": (v5(YARN | {"beta_fast": 16, "beta_slow": 2}), [None]),
    "yarn_no_truncate": (v5(YARN | {"truncate": False}), [None]),
    "yarn_attention_factor": (v5(YARN | {"attention_factor": 0.85}), [None]),
    "yarn_mscale": (v5(YARN | {"mscale": 0.707, "mscale_all_dim": 1.0}), [None]),
    "yarn_mscale_alone": (v5(YARN | {"mscale": 0.707}), [None]),
    "yarn_mscale_zero": (v5(YARN | {"mscale": 1.0, "mscale_all_dim": 0}), [None]),
    "yarn_factor_null": (v5(YARN | {"factor": None}, max_position_embeddings=32768), [None]),
    "yarn_factor_one": (v5(YARN | {"factor": 1.0}, max_position_embeddings=2048), [None]),
    "yarn_no_original": (v5({key: value for key, value in YARN.items() if key != "original_max_position_embeddings"}), [None]),
    "yarn_betas_null": (v5(YARN | {"beta_fast": None, "beta_slow": None}), [None]),
    "yarn_short": (v5(YARN | {"original_max_position_embeddings": 16, "beta_fast": 4.0, "beta_slow": 0.5}, head_dim=16,
                      max_position_embeddings=64), [None]),
    "yarn_equal_bounds": (v5(YARN | {"original_max_position_embeddings": 6}, head_dim=8, max_position_embeddings=24), [None]),
    "yarn_negative_bound": (v5(YARN | {"original_max_position_embeddings": 6, "truncate": False}, head_dim=8,
                               max_position_embeddings=24), [None]),
    "yarn_partial": (v5(YARN | {"partial_rotary_factor": 0.5}), [None]),
    "yarn_v4": (SHAPE | {"rope_theta": 1000000.0, "rope_scaling": {"type": "yarn", "factor": 4.0,
                                                                   "original_max_position_embeddings": 2048}}, [None]),
    "longrope": (v5(LONGROPE | {"original_max_position_embeddings": 2048}, head_dim=8), [1, 2048, 2049, 9000]),
    "longrope_own_key": (v5(LONGROPE | {"original_max_position_embeddings": 7}, head_dim=8, original_max_position_embeddings=64), [64, 65]),
    "longrope_factor": (v5(LONGROPE | {"factor": 3.0}, head_dim=8), [100, 9000]),
    "longrope_attention_factor": (v5(LONGROPE | {"attention_factor": 1.3}, head_dim=8), [5]),
    "longrope_not_stretched": (v5(LONGROPE, head_dim=8), [5]),
}  # fmt: skip


def frequencies(config: LlamaConfig, length: int | None) -> tuple[torch.Tensor, float]:
    kind = config.rope_parameters["rope_type"]
    if kind == "default":
        return LlamaRotaryEmbedding.compute_default_rope_parameters(config)
    # a tensor, as the model passes: the base is then computed in float32
    return ROPE_INIT_FUNCTIONS[kind](config, seq_len=None if length is None else torch.tensor(length))


def rope_table() -> list[dict]:
    rows = []
    for name, (config, lengths) in SETS.items():
        for length in lengths:
            inv_freq, attention_factor = frequencies(LlamaConfig(**copy.deepcopy(config)), length)  # transformers adds keys to the dicts that it is given
            rows.append({"name": name, "config": config, "document_length": length, "attention_factor": float(attention_factor),
                         "inv_freq": inv_freq.tolist()})  # fmt: skip
    return rows
