"""Writes tests/data/config_keys: the effect of each key of a config.json in transformers.

For every family `<family>.json` has
  default_targets  the modules that PEFT's LoRA adapts where a config names none
  keys     every key that its config class or its model code reads, with a value that changes nothing
  tensors  names and shapes of the small model's weights; their values are a formula of both (`weight`), so that no file holds them
  config   config.json of that model
  loss     transformers' result: the mean loss of DOCUMENT, or the first logit of an encoder's classifier
  ties     for decoders, all with tie_word_embeddings true: the losses `tied`, `other_head` (the file holds both weights, which differ)
           and `head_alone` (the file holds lm_head.weight and no embedding); a file of the body only, without its prefix, gives `tied` too
  training  for families without a case in family_cases.py: the losses and gradient norms of 20 steps of LoRA on all linear modules in
           transformers + PEFT, and some trained tensors; the adapter starts with `weight` of its own names
  changes  [{set: keys that replace those of config.json, loss: a number, or null where transformers refuses, tensors: if others are needed}]

    python scripts/golden/config_keys.py [FAMILY...]
"""

import inspect
import json
import logging
import math
import re
import sys
import tempfile
import warnings
from pathlib import Path

import llama_reference
import peft
import torch
import transformers
from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as DEFAULT_TARGETS
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

OUT = Path(__file__).resolve().parents[2] / "tests/data/config_keys"
DOCUMENT = [3, 14, 7, 1, 22, 9, 4, 17, 30, 11, 2, 28, 5, 19, 8, 26, 13, 6, 31, 10, 24, 15, 29, 12]
LABELS = 3

SMALL = dict(vocab_size=32, hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4,
             max_position_embeddings=40, pad_token_id=None, bos_token_id=None, eos_token_id=None)
GROUPED = dict(SMALL, num_key_value_heads=2)
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8}
MINISTRAL3_ROPE = dict(YARN, rope_theta=10000.0, mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.7)
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8}
BERT = dict(SMALL, pad_token_id=0, id2label={str(i): f"L{i}" for i in range(LABELS)})

LAYERS = ["full_attention", "sliding_attention"]

# The small config of each family: keys that replace the defaults of its class.
CONFIGS = {
    "bert": BERT,
    "distilbert": {"vocab_size": 32, "dim": 16, "hidden_dim": 20, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 40,
                   "id2label": BERT["id2label"]},
    "falcon": dict({key: value for key, value in SMALL.items() if key != "intermediate_size"}, ffn_hidden_size=20),
    "gemma": dict(GROUPED, head_dim=4),
    "gemma2": dict(GROUPED, head_dim=4, query_pre_attn_scalar=4, sliding_window=8),
    "gemma3_text": dict(GROUPED, head_dim=4, query_pre_attn_scalar=4, sliding_window=8, layer_types=LAYERS),
    "gpt2": {"vocab_size": 32, "n_embd": 16, "n_inner": 20, "n_layer": 2, "n_head": 4, "n_positions": 40, "bos_token_id": None,
             "eos_token_id": None},
    "gpt_neox": dict(SMALL, num_attention_heads=2, rope_parameters=dict(ROPE, partial_rotary_factor=0.5)),
    "llama": GROUPED,
    "mistral": dict(GROUPED, sliding_window=8),
    "mixtral": dict(GROUPED, head_dim=4, num_local_experts=4, sliding_window=8),
    "modernbert": dict(BERT, local_attention=8, num_hidden_layers=3),
    "olmo2": GROUPED,
    "phi3": dict(GROUPED, sliding_window=8),
    "qwen2": GROUPED,
    "qwen3": dict(GROUPED, head_dim=4),
    "qwen3_moe": dict(GROUPED, head_dim=4, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=12, norm_topk_prob=True),
    "roberta": dict(BERT, pad_token_id=1, max_position_embeddings=44),
    "apertus": dict(GROUPED, rope_parameters=ROPE),
    "arcee": GROUPED,
    "camembert": dict(BERT, pad_token_id=1, max_position_embeddings=44),
    "exaone4": dict(GROUPED, sliding_window=8, sliding_window_pattern=2),
    "granite": dict(GROUPED, embedding_multiplier=1.7, residual_multiplier=0.6, attention_multiplier=0.4, logits_scaling=1.3),
    "helium": dict(GROUPED, head_dim=4),
    "hunyuan_v1_dense": dict(GROUPED, head_dim=6),
    "internlm3": dict(GROUPED, head_dim=6),
    "ministral": dict(GROUPED, head_dim=6, sliding_window=8, layer_types=LAYERS[::-1]),
    "ministral3": dict(GROUPED, head_dim=6, sliding_window=None, rope_parameters=MINISTRAL3_ROPE),
    "nemotron": dict(GROUPED, head_dim=8, rope_parameters=dict(ROPE, partial_rotary_factor=0.5)),
    "olmo3": dict(GROUPED, sliding_window=8, layer_types=LAYERS[::-1]),
    "phi": dict(GROUPED, num_attention_heads=2, num_key_value_heads=1, rope_parameters=dict(ROPE, partial_rotary_factor=0.5)),
    "seed_oss": dict(GROUPED, head_dim=6, attention_dropout=0.0, residual_dropout=0.0),
    "starcoder2": dict(GROUPED, sliding_window=8),
    "xlm-roberta": dict(BERT, pad_token_id=1, max_position_embeddings=44),
    "smollm3": GROUPED,
    "stablelm": dict(GROUPED, num_attention_heads=2, num_key_value_heads=1, rope_parameters=dict(ROPE, partial_rotary_factor=0.5)),
}
ENCODERS = {"bert", "camembert", "distilbert", "modernbert", "roberta", "xlm-roberta"}
TRAINED = {"apertus", "arcee", "exaone4", "granite", "helium", "hunyuan_v1_dense", "internlm3", "ministral", "ministral3", "nemotron", "olmo3",
           "phi", "seed_oss", "starcoder2"}
UNTIED = {"phi"}  # never tied here
DOUBLE = {"gemma3_text", "modernbert", "olmo3"}  # one RoPE per kind of layer

# Changes that are tried on every family with RoPE.
ROPE_CHANGES = [
    {"rope_parameters": dict(ROPE, rope_theta=500.0)},
    {"rope_parameters": None, "rope_theta": 500.0},
    {"rope_parameters": None, "rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 3.0}},
    {"rope_parameters": dict(ROPE, rope_theta=500.0), "rope_scaling": {"rope_type": "linear", "factor": 3.0}},
    {"rope_parameters": ROPE, "rope_theta": 500.0},
    {"rope_parameters": ROPE, "rope_scaling": YARN},
    {"rope_parameters": ROPE, "rope_scaling": {}},
    {"rope_parameters": dict(YARN, rope_theta=10000.0)},
    {"rope_parameters": dict(YARN, rope_theta=10000.0, beta_fast=4.0, beta_slow=2.0, attention_factor=1.3)},
    {"rope_parameters": dict(YARN, rope_theta=10000.0, mscale=2.0, mscale_all_dim=0.5, truncate=False)},
    {"rope_parameters": dict(YARN, rope_theta=10000.0), "original_max_position_embeddings": 16},
    {"rope_parameters": dict(LLAMA3, rope_theta=10000.0)},
    {"rope_parameters": dict(LLAMA3, rope_theta=10000.0), "original_max_position_embeddings": 32},
    {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}, "max_position_embeddings": 12},
    {"rope_parameters": ROPE, "partial_rotary_factor": 0.5},
]
DOUBLE_ROPE_CHANGES = [
    {"rope_parameters": {"full_attention": dict(ROPE, rope_theta=500.0), "sliding_attention": dict(ROPE, rope_theta=70.0)}},
    {"rope_parameters": None, "rope_theta": 500.0},
    {"rope_parameters": None, "rope_local_base_freq": 70.0},
    {"rope_parameters": None, "global_rope_theta": 500.0},
    {"rope_parameters": None, "local_rope_theta": 70.0},
    {"rope_parameters": None, "rope_scaling": {"rope_type": "linear", "factor": 3.0}},
    {"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 3.0}},
    {"rope_scaling": {"rope_type": "linear", "factor": 3.0}},
    {"rope_parameters": {"full_attention": dict(ROPE, rope_theta=500.0)}},
    {"rope_parameters": dict(ROPE, rope_theta=500.0)},
]
WINDOWS = [{"sliding_window": 5}, {"sliding_window": None}]
QWEN_WINDOWS = [
    {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1, "layer_types": None},
    {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 9, "layer_types": None},
    {"use_sliding_window": True, "sliding_window": 5, "layer_types": LAYERS},
    {"use_sliding_window": True, "sliding_window": None, "layer_types": None},
    {"use_sliding_window": False, "sliding_window": 5, "layer_types": None},
]
SHAPES = [{"num_key_value_heads": None}, {"num_key_value_heads": 1}, {"tie_word_embeddings": "other"}]
HEAD_DIM = [{"head_dim": 6}]
RMS = [{"rms_norm_eps": 0.1}]
SILU = [{"hidden_act": "gelu"}, {"hidden_act": "relu"}, {"hidden_act": "gelu_pytorch_tanh"}]
GEMMA = [{"hidden_activation": "silu"}, {"hidden_act": "silu"}, {"query_pre_attn_scalar": 9}, {"attn_logit_softcapping": 0.5},
         {"attn_logit_softcapping": None}, {"final_logit_softcapping": 0.7}, {"final_logit_softcapping": None},
         {"use_bidirectional_attention": True}, {"layer_types": LAYERS}, {"layer_types": LAYERS[::-1]}]
BIASES = [{"attention_bias": "other"}]
ENCODER = [{"hidden_act": "relu"}, {"layer_norm_eps": 0.1}, {"classifier_dropout": 0.3}, {"pad_token_id": 3}, {"type_vocab_size": 3},
           {"is_decoder": True}, {"add_cross_attention": True}, {"position_embedding_type": "absolute"}, {"hidden_dropout_prob": 0.4},
           {"chunk_size_feed_forward": 2}]

FEW_ROPES = [ROPE_CHANGES[1], ROPE_CHANGES[2], ROPE_CHANGES[8]]
FEW_ENCODER = [ENCODER[0], ENCODER[1], ENCODER[3], ENCODER[5]]

CHANGES = {
    "bert": ENCODER,
    "distilbert": [{"activation": "relu"}, {"sinusoidal_pos_embds": True}, {"pad_token_id": 3}, {"seq_classif_dropout": 0.5}],
    "falcon": ROPE_CHANGES + [{"layer_norm_epsilon": 0.1}, {"activation": "relu"}, {"bias": "other"}, {"alibi": True}, {"multi_query": "other"},
                              {"parallel_attn": "other"}, {"new_decoder_architecture": True, "num_kv_heads": 2},
                              {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1},
                              {"new_decoder_architecture": True, "num_kv_heads": 2, "multi_query": False},
                              {"num_ln_in_parallel_attn": 1}, {"tie_word_embeddings": "other"}, {"n_embed": 16},
                              {"apply_residual_connection_post_layernorm": True}],
    "gemma": ROPE_CHANGES + SHAPES + HEAD_DIM + RMS + BIASES + [{"hidden_act": "gelu"}, {"hidden_act": "silu"}, {"hidden_activation": "silu"},
                                                                {"use_bidirectional_attention": True}],
    "gemma2": ROPE_CHANGES + SHAPES + HEAD_DIM + RMS + BIASES + GEMMA + WINDOWS,
    "gemma3_text": DOUBLE_ROPE_CHANGES + SHAPES + HEAD_DIM + RMS + BIASES + GEMMA + WINDOWS
    + [{"layer_types": None, "sliding_window_pattern": 2}, {"layer_types": None, "_sliding_window_pattern": 2}],
    "gpt2": [{"activation_function": "relu"}, {"layer_norm_epsilon": 0.1}, {"scale_attn_weights": False},
             {"scale_attn_by_inverse_layer_idx": True}, {"reorder_and_upcast_attn": True}, {"add_cross_attention": True},
             {"n_ctx": 12}, {"tie_word_embeddings": "other"}, {"summary_type": "mean"}],
    "gpt_neox": ROPE_CHANGES + [{"hidden_act": "relu"}, {"layer_norm_eps": 0.1}, {"use_parallel_residual": False}, {"attention_bias": "other"},
                                {"tie_word_embeddings": "other"}, {"is_decoder": True},
                                {"rope_parameters": None, "rotary_emb_base": 500, "rotary_pct": 0.5},
                                {"rope_parameters": None, "rotary_emb_base": 500, "rope_theta": 70.0},
                                {"rope_parameters": None, "rotary_pct": 1.0}],
    "llama": ROPE_CHANGES + SHAPES + HEAD_DIM + RMS + SILU + BIASES + [{"mlp_bias": "other"}, {"pretraining_tp": 2}, {"layer_types": LAYERS}],
    "mistral": ROPE_CHANGES + SHAPES + HEAD_DIM + RMS + SILU + WINDOWS + [{"layer_types": LAYERS}],
    "mixtral": ROPE_CHANGES + SHAPES + HEAD_DIM + RMS + SILU + WINDOWS
    + [{"num_experts_per_tok": 1}, {"output_router_logits": True}, {"router_jitter_noise": 0.1}, {"router_aux_loss_coef": 0.5}],
    "modernbert": DOUBLE_ROPE_CHANGES + [
        {"hidden_activation": "relu"}, {"norm_eps": 0.1}, {"norm_bias": "other"}, {"attention_bias": "other"}, {"mlp_bias": "other"},
        {"classifier_pooling": "mean"}, {"classifier_activation": "relu"}, {"classifier_bias": "other"}, {"local_attention": 4},
        {"sliding_window": 2}, {"layer_types": None, "global_attn_every_n_layers": 2},
        {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}, {"layer_norm_eps": 0.1}, {"decoder_bias": False},
        {"pad_token_id": 3}],
    "olmo2": ROPE_CHANGES + SHAPES + HEAD_DIM + RMS + SILU + BIASES,
    "phi3": ROPE_CHANGES + SHAPES + HEAD_DIM + RMS + SILU + WINDOWS + [
        {"embd_pdrop": 0.5}, {"original_max_position_embeddings": 8},
        {"rope_parameters": dict(ROPE, rope_type="longrope", short_factor=[1.0, 2.0], long_factor=[3.0, 4.0]), "original_max_position_embeddings": 8},
        {"rope_parameters": None, "rope_scaling": {"type": "yarn", "short_factor": [1.0, 2.0], "long_factor": [3.0, 4.0]},
         "original_max_position_embeddings": 32},
        {"rope_parameters": None, "rope_scaling": {"type": "su", "short_factor": [1.0, 2.0], "long_factor": [3.0, 4.0]},
         "original_max_position_embeddings": 8}],
    "qwen2": ROPE_CHANGES + SHAPES + HEAD_DIM + RMS + SILU + QWEN_WINDOWS,
    "qwen3": ROPE_CHANGES + SHAPES + HEAD_DIM + RMS + SILU + BIASES + QWEN_WINDOWS,
    "qwen3_moe": ROPE_CHANGES + SHAPES + HEAD_DIM + RMS + SILU + BIASES + QWEN_WINDOWS
    + [{"num_experts_per_tok": 1}, {"norm_topk_prob": False}, {"mlp_only_layers": [0]}, {"decoder_sparse_step": 2},
       {"output_router_logits": True}, {"router_aux_loss_coef": 0.5}],
    "roberta": ENCODER,
    "apertus": [{"rope_parameters": None}, FEW_ROPES[0], FEW_ROPES[2]] + SHAPES + RMS + BIASES,
    "arcee": FEW_ROPES + SHAPES + HEAD_DIM + RMS + BIASES + [{"mlp_bias": "other"}, {"hidden_act": "relu"}],
    "camembert": FEW_ENCODER,
    "exaone4": FEW_ROPES + SHAPES + RMS + [{"hidden_act": "gelu"}, {"sliding_window": 5}, {"sliding_window": None},
                                           {"layer_types": None, "sliding_window_pattern": 1}, {"layer_types": LAYERS},
                                           {"sliding_window": None, "layer_types": ["full_attention"] * 2, "sliding_window_pattern": None},
                                           {"layer_types": LAYERS, "sliding_window_pattern": "LLLG"}],
    "granite": FEW_ROPES + SHAPES + RMS + BIASES + [{"mlp_bias": "other"}, {"embedding_multiplier": 1.0}, {"residual_multiplier": 1.0},
                                                    {"attention_multiplier": 1.0}, {"logits_scaling": 1.0}],
    "helium": FEW_ROPES + SHAPES[1:] + RMS + BIASES + [{"mlp_bias": "other"}, {"hidden_act": "gelu"}],
    "hunyuan_v1_dense": FEW_ROPES + SHAPES + RMS + BIASES + [
        {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 1.0, "alpha": 20.0}},
        {"rope_parameters": None, "rope_theta": 500.0, "rope_scaling": {"type": "dynamic", "factor": 1.0, "alpha": 20.0, "beta_fast": 32}},
        {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}, "max_position_embeddings": 12}],
    "internlm3": FEW_ROPES + SHAPES + RMS + [{"head_dim": None}, {"attention_bias": True, "mlp_bias": True}, {"qkv_bias": True, "bias": True},
                                             {"attention_bias": True}],
    "ministral": FEW_ROPES + SHAPES + RMS + WINDOWS + [{"hidden_act": "gelu"}, {"layer_types": None}, {"layer_types": None, "sliding_window": None}],
    "ministral3": [{"rope_parameters": None}, {"rope_parameters": dict(MINISTRAL3_ROPE, original_max_position_embeddings=5)},
                   {"rope_parameters": dict(MINISTRAL3_ROPE, llama_4_scaling_beta=0.0)}, {"sliding_window": 5}, {"head_dim": 4}] + SHAPES[1:] + RMS,
    "nemotron": FEW_ROPES + SHAPES + BIASES + [{"mlp_bias": "other"}, {"norm_eps": 0.1}, {"hidden_act": "relu"}, {"head_dim": None},
                                               {"rope_parameters": None}, {"rope_parameters": None, "partial_rotary_factor": 1.0}],
    "olmo3": DOUBLE_ROPE_CHANGES + SHAPES + RMS + BIASES + WINDOWS + [
        {"layer_types": None}, {"rope_parameters": None, "rope_theta": 500.0, "rope_scaling": dict(YARN, attention_factor=1.2)}],
    "phi": FEW_ROPES + SHAPES[:2] + [{"hidden_act": "relu"}, {"layer_norm_eps": 0.1}, {"qk_layernorm": "other"}, {"rope_parameters": None}],
    "seed_oss": FEW_ROPES + SHAPES + RMS + BIASES + [{"attention_out_bias": "other"}, {"mlp_bias": "other"}, {"head_dim": None}],
    "starcoder2": FEW_ROPES + SHAPES + WINDOWS + [{"hidden_act": "relu"}, {"norm_epsilon": 0.1}, {"use_bias": "other"}],
    "xlm-roberta": FEW_ENCODER,
    "smollm3": ROPE_CHANGES + SHAPES + RMS + SILU + BIASES + [
        {"mlp_bias": "other"}, {"no_rope_layers": [1, 0], "layer_types": None}, {"no_rope_layers": None, "no_rope_layer_interval": 2},
        {"no_rope_layers": [1, 0], "use_sliding_window": True, "sliding_window": 5, "layer_types": None},
        {"use_sliding_window": True, "sliding_window": 5, "layer_types": LAYERS}],
    "stablelm": ROPE_CHANGES + SHAPES + SILU + [{"layer_norm_eps": 0.1}, {"use_qkv_bias": "other"}, {"qk_layernorm": "other"},
                                                {"use_parallel_residual": "other"},
                                                {"rope_parameters": None, "partial_rotary_factor": 1.0}, {"rope_parameters": None}],
}


def weight(name, shape):
    """0.3 sin(0.7 k + phase), around one where it scales a norm; the phase is the sum of the name's bytes times their positions."""
    phase = sum((i + 1) * byte for i, byte in enumerate(name.encode())) % 997
    values = [0.3 * math.sin(0.7 * k + phase) for k in range(math.prod(shape))]
    offset = 1.0 if len(shape) == 1 and name.endswith("weight") else 0.0
    return torch.tensor([offset + v for v in values], dtype=torch.float64).to(torch.float32).reshape(shape)


def small_config(family):
    config = CONFIG_MAPPING[family](**CONFIGS[family]).to_dict()
    config = {key: value for key, value in config.items() if key not in ("transformers_version", "dtype")}
    return json.loads(json.dumps(config))


def opener(family):
    return AutoModelForSequenceClassification if family in ENCODERS else AutoModelForCausalLM


def tensors_of(family, config):
    """Names and shapes of the weights of a model with this config."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(config))
        parsed = transformers.AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = opener(family).from_config(parsed)
    tied = set(model.all_tied_weights_keys) if getattr(model, "all_tied_weights_keys", None) else set()
    stored = model.state_dict()  # with buffers, which some activations have
    return {name: list(p.shape) for name, p in [*model.named_parameters(), *model.named_buffers()] if name in stored and name not in tied}


def outcome(family, config, tensors, bare=False):
    """The loss, or an encoder's first score. `bare`: the names in the file lack the prefix of the body."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(config))
        weights = {name.split(".", 1)[1] if bare else name: weight(name, shape) for name, shape in tensors.items()}
        save_file(weights, Path(folder, "model.safetensors"), metadata={"format": "pt"})
        model, info = opener(family).from_pretrained(folder, attn_implementation="eager", dtype=torch.float32, output_loading_info=True)
        assert not info["missing_keys"], info["missing_keys"]
        model.eval()
        ids = torch.tensor([DOCUMENT])
        with torch.no_grad():
            if family in ENCODERS:
                return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, 0].item()
            logits = model(input_ids=ids, use_cache=False).logits[0].double()
            return torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:]).item()


def changed(config, change):
    """config.json with the change; "other" inverts a flag."""
    result = dict(config)
    for key, value in change.items():
        result[key] = not result.get(key, False) if value == "other" else value
    return result


def neutral_keys(family, config):
    """Every key that the class or the model code reads."""
    cls = CONFIG_MAPPING[family]
    keys = {}
    module = inspect.getmodule(cls)
    code = Path(module.__file__.replace("configuration_", "modeling_"))
    if not code.exists():  # InternLM 3 is built by another family's class
        code = Path(inspect.getsourcefile(AutoModelForCausalLM._model_mapping[cls]))
    model_code = code.read_text()
    source = inspect.getsource(cls)
    asked = set(re.findall(r"kwargs\.(?:pop|get|setdefault)\(\s*\"(\w+)\"", source + inspect.getsource(PreTrainedConfig.__post_init__)))
    asked |= set(re.findall(r"(?:self\.)?config\.([a-z]\w*)\b(?!\()", model_code))
    asked |= set(re.findall(r"getattr\((?:self\.)?config, \"(\w+)\"", model_code))
    rope = {"rope_theta", "rope_scaling", "partial_rotary_factor"}
    asked = asked | rope if "rope_parameters" in config else asked - rope
    asked -= {"modernbert": {"rope_theta"}, "gpt_neox": {"partial_rotary_factor"}}.get(family, set())  # they have their own keys
    members = {name for name in dir(PreTrainedConfig) if callable(getattr(PreTrainedConfig, name, None))}
    for key in sorted(asked | set(config) | set(cls.attribute_map) | set(inspect.signature(cls).parameters)):
        if key in members or key in ("self", "kwargs", "text_config", "vision_config", "image_token_id", "mm_tokens_per_image"):
            continue
        keys[key] = config.get(key)
    return keys


def ties(family, config):
    tied = dict(config, tie_word_embeddings=True)
    both = tensors_of(family, dict(config, tie_word_embeddings=False))
    body = {name: shape for name, shape in both.items() if name != "lm_head.weight"}
    embedding = next(iter(body))
    head_alone = {name: shape for name, shape in both.items() if name != embedding}
    result = {"tied": outcome(family, tied, body), "other_head": outcome(family, tied, both), "head_alone": outcome(family, tied, head_alone)}
    assert outcome(family, tied, body, bare=True) == result["tied"], "a body without its prefix"
    return result


def documents():
    """Parts of DOCUMENT of several lengths, as rows of the format `tokens`."""
    twice = DOCUMENT + DOCUMENT
    return [twice[5 * i % 24 : 5 * i % 24 + 3 + 7 * i % 20] for i in range(11)]


def training(family, config, tensors):
    """20 steps of transformers + PEFT."""
    settings = dict(max_steps=20, per_device_train_batch_size=2, gradient_accumulation_steps=2, learning_rate=5e-3, warmup_steps=2,
                    lr_scheduler_type="linear", weight_decay=0.1, optim="adamw_torch", max_grad_norm=1.0, adam_epsilon=1e-6)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(config))
        save_file({name: weight(name, shape) for name, shape in tensors.items()}, Path(folder, "model.safetensors"), metadata={"format": "pt"})
        base = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    model = peft.get_peft_model(base, peft.LoraConfig(r=2, lora_alpha=3, target_modules="all-linear", task_type="CAUSAL_LM")).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(weight(llama_reference.parameter_key(name), parameter.shape))
    rows = [llama_reference.Document(ids, ids) for ids in documents()]
    result = llama_reference.train(model, {"training": settings, "adapter": {"peft_type": "LORA"}}, rows, rows[:1])
    trained = llama_reference.trained_tensors(model)
    names = sorted(trained)
    kept = [names[0], names[1], names[-1]]
    return {"run": settings, "loss": [step["loss"] for step in result.steps], "grad_norm": [step["grad_norm"] for step in result.steps],
            "num_trained": len(names), "trained": {name: trained[name].flatten().tolist() for name in kept}}  # fmt: skip


def make(family):
    config = small_config(family)
    tensors = tensors_of(family, config)
    result = {"default_targets": DEFAULT_TARGETS.get(family, []), "keys": neutral_keys(family, config), "config": config, "tensors": tensors,
              "loss": outcome(family, config, tensors), "changes": []}  # fmt: skip
    if family in TRAINED:
        result["training"] = training(family, config, tensors)
    if family not in ENCODERS | UNTIED:
        result["ties"] = ties(family, config)
    for change in CHANGES[family]:
        other = changed(config, change)
        entry = {"set": {key: other[key] for key in change}}
        try:
            own = tensors_of(family, other)
            entry["loss"] = outcome(family, other, own)
            if own != tensors:
                entry["tensors"] = own
        except Exception as error:
            entry["loss"] = None
            print(f"{family}: {change}: {type(error).__name__}: {str(error).splitlines()[0][:150]}", file=sys.stderr)
        result["changes"].append(entry)
    return result


def main():
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    for family in sys.argv[1:] or CONFIGS:
        text = json.dumps(make(family), indent=None, separators=(",", ":"))
        (OUT / f"{family}.json").write_text(text.replace('{"set"', '\n{"set"').replace('"changes"', '\n"changes"').replace('"tensors":{', '\n"tensors":{') + "\n")
    versions = {"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]}
    (OUT / "VERSIONS.json").write_text(json.dumps(versions) + "\n")


main()
