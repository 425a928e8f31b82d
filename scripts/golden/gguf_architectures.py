#!/usr/bin/env python3
"""Tiny models of every architecture of GGUF, and tokenizers: tests/data/quantized/gguf_architectures.

    pip install gguf==0.19.0 sentencepiece; scripts/golden/gguf_architectures.py

<arch>.gguf has random weights, projections in blocks of ggml; logits.safetensors has what transformers computes with the dequantised
weights (float32, eager). Names come from the gguf package (tensor_mapping.py); the layouts (permuted heads, norms plus one, fused
projections, transposed Conv1D) are those of llama.cpp's convert_hf_to_gguf.py. tokenizer_<name>.gguf holds the vocabulary of
tests/data/tokenizer_json/<name>.json, or of tests/data/tokenizer/bpe.model; the ids to compare with are those next to these files.
"""
import json
import pathlib

import gguf
import numpy as np
import sentencepiece
import torch
import transformers
from gguf import GGMLQuantizationType as Q
from gguf.quants import dequantize, quantize
from safetensors.torch import save_file

DATA = pathlib.Path(__file__).resolve().parents[2] / "tests/data"
OUT = DATA / "quantized/gguf_architectures"
TYPES = [Q.Q4_0, Q.Q8_0, Q.Q4_1, Q.BF16, Q.Q5_0, Q.Q5_1, Q.F16]
IDS = torch.tensor([[3, 17, 88, 4, 51, 60, 9, 22, 35, 71, 2, 40]])

SIZES = dict(vocab_size=89, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=64, tie_word_embeddings=False)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)
LONGROPE = dict(rope_type="longrope", short_factor=[1.0, 1.25, 2.0], long_factor=[1.0, 3.0, 6.0])

# file: (architecture of GGUF, class of the config, what differs from SIZES)
CASES = {
    "llama": ("llama", "Llama", dict(rope_theta=20000.0, rope_scaling={"rope_type": "linear", "factor": 2.0})),
    "llama_rope": ("llama", "Llama", dict(rope_theta=500000.0, tie_word_embeddings=True, attention_bias=True, max_position_embeddings=131072,
                                         rope_scaling=LLAMA3)),
    "qwen2": ("qwen2", "Qwen2", dict(rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16})),
    "qwen3": ("qwen3", "Qwen3", dict(head_dim=16)),
    "qwen3moe": ("qwen3moe", "Qwen3Moe", dict(head_dim=16, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, norm_topk_prob=True,
                                              decoder_sparse_step=1, mlp_only_layers=[])),
    "phi3": ("phi3", "Phi3", dict(partial_rotary_factor=0.75, rope_scaling=LONGROPE, original_max_position_embeddings=8, sliding_window=7,
                                  pad_token_id=0)),
    "gemma": ("gemma", "Gemma", dict(head_dim=16, tie_word_embeddings=True)),
    "gemma2": ("gemma2", "Gemma2", dict(head_dim=16, tie_word_embeddings=True, sliding_window=5, query_pre_attn_scalar=16)),
    "gemma3": ("gemma3", "Gemma3Text", dict(head_dim=16, tie_word_embeddings=True, sliding_window=5, query_pre_attn_scalar=16, num_hidden_layers=6,
                                            intermediate_size=32)),
    "gpt2": ("gpt2", "GPT2", dict(tie_word_embeddings=True)),
    "gptneox": ("gptneox", "GPTNeoX", dict(rotary_pct=0.5)),
    "gptneox_serial": ("gptneox", "GPTNeoX", dict(rotary_pct=0.25, use_parallel_residual=False)),
    "falcon": ("falcon", "Falcon", dict(new_decoder_architecture=False, multi_query=True, tie_word_embeddings=True)),
    "falcon_new": ("falcon", "Falcon", dict(new_decoder_architecture=True, num_kv_heads=2, tie_word_embeddings=True)),
    "stablelm": ("stablelm", "StableLm", dict(partial_rotary_factor=0.25, use_qkv_bias=True)),
    "stablelm_parallel": ("stablelm", "StableLm", dict(partial_rotary_factor=0.5, use_parallel_residual=True, qk_layernorm=True)),
    "olmo2": ("olmo2", "Olmo2", dict()),
    "smollm3": ("smollm3", "SmolLM3", dict(num_hidden_layers=4, intermediate_size=32, tie_word_embeddings=True, pad_token_id=0)),
}


def permuted(w, heads):
    """The two halves of each head, interleaved."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def regrouped(w, heads, key_heads):
    """The groups of queries, key and value taken apart: all queries, all keys, all values."""
    groups = w.reshape(key_heads, heads // key_heads + 2, -1, *w.shape[1:])
    parts = groups[:, :-2], groups[:, -2], groups[:, -1]
    return np.concatenate([part.reshape(-1, *w.shape[1:]) for part in parts])


def grouped(w, heads, key_heads):
    dim = w.shape[0] // (heads + 2 * key_heads)
    q, k, v = np.split(w, [heads * dim, (heads + key_heads) * dim])
    shape = (key_heads, -1, dim, *w.shape[1:])
    return np.concatenate([q.reshape(shape), k.reshape(shape), v.reshape(shape)], axis=1).reshape(w.shape)


def unpermuted(w, heads):
    return w.reshape(heads, w.shape[0] // heads // 2, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


class Layout:
    """The layout of one tensor in GGUF, and back."""

    def __init__(self, arch, name, heads, key_heads):
        self.arch, self.name, self.heads, self.key_heads = arch, name, heads, key_heads

    def to_gguf(self, w):
        if self.arch in ("llama", "smollm3") and (".q_proj." in self.name or ".k_proj." in self.name):
            return permuted(w, self.heads if ".q_proj." in self.name else self.key_heads)
        if self.arch in ("gptneox", "falcon") and ".query_key_value." in self.name:
            return regrouped(w, self.heads, self.key_heads)
        if self.arch.startswith("gemma") and self.name.endswith("norm.weight"):
            return w + np.float32(1)
        if self.arch == "gpt2" and self.name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            return np.ascontiguousarray(w.T)
        return w

    def from_gguf(self, w):
        if self.arch in ("llama", "smollm3") and (".q_proj." in self.name or ".k_proj." in self.name):
            return unpermuted(w, self.heads if ".q_proj." in self.name else self.key_heads)
        if self.arch in ("gptneox", "falcon") and ".query_key_value." in self.name:
            return grouped(w, self.heads, self.key_heads)
        if self.arch.startswith("gemma") and self.name.endswith("norm.weight"):
            return w - np.float32(1)
        if self.arch == "gpt2" and self.name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            return np.ascontiguousarray(w.T)
        return w


def add_metadata(w, arch, c):
    heads = c.num_attention_heads
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_block_count(c.num_hidden_layers)
    w.add_feed_forward_length({"gpt2": 4 * c.hidden_size, "falcon": getattr(c, "ffn_hidden_size", 0)}.get(arch) or c.intermediate_size)
    w.add_head_count(heads)
    key_heads = {"gpt2": heads, "gptneox": heads}.get(arch)
    if arch == "falcon":
        key_heads = c.num_kv_heads if c.new_decoder_architecture else 1
    key_heads = key_heads or c.num_key_value_heads
    w.add_head_count_kv(key_heads)
    head_dim = getattr(c, "head_dim", None) or c.hidden_size // heads
    if hasattr(c, "rms_norm_eps"):
        w.add_layer_norm_rms_eps(c.rms_norm_eps)
    else:
        w.add_layer_norm_eps(c.layer_norm_epsilon if hasattr(c, "layer_norm_epsilon") else c.layer_norm_eps)
    if arch.startswith(("gemma", "qwen3")):
        w.add_key_length(head_dim)
        w.add_value_length(head_dim)
    rope = getattr(c, "rope_parameters", None) or {}
    full = rope.get("full_attention", rope)
    if "rope_theta" in full:
        w.add_rope_freq_base(full["rope_theta"])
    part = full.get("partial_rotary_factor", 1.0)
    if arch != "gpt2":
        w.add_rope_dimension_count(int(head_dim * part))
    if full.get("rope_type") in ("linear", "yarn"):
        w.add_rope_scaling_type(gguf.RopeScalingType(full["rope_type"]))
        w.add_rope_scaling_factor(full["factor"])
    if full.get("rope_type") == "yarn":
        w.add_rope_scaling_orig_ctx_len(full["original_max_position_embeddings"])
    if full.get("rope_type") == "longrope":
        w.add_rope_scaling_orig_ctx_len(c.original_max_position_embeddings)
        for kind in ("short", "long"):
            w.add_tensor(f"rope_factors_{kind}.weight", np.array(full[f"{kind}_factor"], np.float32))
    if full.get("rope_type") == "llama3":
        w.add_tensor("rope_freqs.weight", llama3_factors(full, head_dim))
    if arch in ("phi3", "gemma2", "gemma3"):
        w.add_sliding_window(c.sliding_window)
    if arch in ("gptneox", "stablelm"):
        w.add_parallel_residual(c.use_parallel_residual)
    if arch == "gemma2":
        w.add_attn_logit_softcapping(c.attn_logit_softcapping)
        w.add_final_logit_softcapping(c.final_logit_softcapping)
    if arch == "qwen3moe":
        w.add_expert_count(c.num_experts)
        w.add_expert_used_count(c.num_experts_per_tok)
        w.add_expert_feed_forward_length(c.moe_intermediate_size)
    return heads, key_heads


def llama3_factors(rope, dim):
    freqs = 1.0 / rope["rope_theta"] ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    low, high, factor, old = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"], rope["original_max_position_embeddings"]
    factors = []
    for freq in freqs:
        length = 2 * np.pi / freq
        if length < old / high:
            factors.append(1)
        elif length > old / low:
            factors.append(factor)
        else:
            smooth = (old / length - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(factors, np.float32)


def named_weights(state, arch, c):
    """The tensors under the names that files have, experts apart."""
    for name, w in state.items():
        w = w.numpy()
        if name.endswith("experts.gate_up_proj"):
            base, inner = name[: -len("gate_up_proj")], w.shape[1] // 2
            yield base + "gate_proj.weight", w[:, :inner], (name, 0)
            yield base + "up_proj.weight", w[:, inner:], (name, 1)
        elif name.endswith("experts.down_proj"):
            yield name + ".weight", w, (name, None)
        else:
            yield name, w, (name, None)


def stacked_norms(arch, state):
    """StableLM's norms of each head are one tensor in GGUF."""
    result, seen = [], set()
    for name, w, origin in state:
        if ".norms." not in name:
            result.append((name, w, origin))
            continue
        base = name.split(".norms.")[0]
        if base not in seen:
            seen.add(base)
            parts = [v for n, v, _ in state if n.startswith(base + ".norms.")]
            result.append((base + ".weight", np.stack(parts), (base, "norms")))
    return result


def write_model(case, logits):
    arch, family, changes = CASES[case]
    sizes = dict(SIZES) | changes
    if arch == "gpt2":
        sizes = dict(vocab_size=89, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    if arch == "falcon":
        sizes = {k: v for k, v in sizes.items() if k not in ("num_key_value_heads", "intermediate_size")} | {"bias": True, "ffn_hidden_size": 64}
    if arch == "gptneox":
        sizes.pop("num_key_value_heads")
    torch.manual_seed(7)
    config = getattr(transformers, family + "Config")(**sizes)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    for name, p in model.named_parameters():
        torch.nn.init.normal_(p, std=0.3 if p.dim() > 1 else 0.2)
        if p.dim() == 1 and name.endswith("weight") and not arch.startswith("gemma"):
            p.data += 1
    state = {k: v.clone() for k, v in model.state_dict().items() if not (k in ("lm_head.weight",) and config.tie_word_embeddings)}
    path = OUT / f"{case}.gguf"
    writer = gguf.GGUFWriter(path, arch)
    heads, key_heads = add_metadata(writer, arch, config)
    mapping = gguf.get_tensor_name_map(next(k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == arch), config.num_hidden_layers)
    count = 0
    for name, w, origin in stacked_norms(arch, list(named_weights(state, arch, config))):
        ggml = mapping.get_name(name, try_suffixes=(".weight", ".bias"))
        assert ggml, name
        layout = Layout(arch, name, heads, key_heads)
        stored = np.ascontiguousarray(layout.to_gguf(w.astype(np.float32)))
        is_matrix = stored.ndim > 1 and "norm" not in name and "ffn_gate_inp" not in ggml and "position_embd" not in ggml
        kind = TYPES[count % len(TYPES)] if is_matrix and stored.shape[-1] % 32 == 0 else Q.F32
        count += is_matrix
        data = quantize(stored, kind)
        writer.add_tensor(ggml, data, raw_dtype=kind)
        back = layout.from_gguf(dequantize(data, kind).reshape(stored.shape).astype(np.float32))
        put(state, origin, torch.from_numpy(np.ascontiguousarray(back)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model.load_state_dict(state, strict=False)
    with torch.no_grad():
        logits[case] = model(IDS).logits[0].contiguous()


def put(state, origin, value):
    name, part = origin
    if part == "norms":
        for i, row in enumerate(value):
            state[f"{name}.norms.{i}.weight"] = row.clone()
    elif part is None:
        state[name] = value.reshape(state[name].shape)
    else:
        inner = value.shape[1]
        state[name][:, part * inner : (part + 1) * inner] = value


def write_tokenizer(name, pre):
    file = json.loads((DATA / f"tokenizer_json/{name}.json").read_text())
    tokens = {i: t for t, i in file["model"]["vocab"].items()}
    types = dict.fromkeys(tokens, gguf.TokenType.NORMAL)
    for token in file["added_tokens"]:
        tokens[token["id"]] = token["content"]
        types[token["id"]] = gguf.TokenType.CONTROL if token["special"] else gguf.TokenType.USER_DEFINED
    order = sorted(tokens)
    assert order == list(range(len(order))), name
    writer = tokenizer_writer(f"tokenizer_{name}", len(order))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([tokens[i] for i in order])
    writer.add_token_types([types[i] for i in order])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in file["model"]["merges"]])
    if name == "llama3":
        writer.add_bos_token_id(next(t["id"] for t in file["added_tokens"] if t["content"] == "<|begin_of_text|>"))
        writer.add_add_bos_token(True)
        writer.add_eot_token_id(next(t["id"] for t in file["added_tokens"] if t["content"] != "<|begin_of_text|>"))
    else:
        writer.add_add_bos_token(False)
    writer.add_chat_template("{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}")
    finish(writer)


def write_sentencepiece():
    sp = sentencepiece.SentencePieceProcessor(model_file=str(DATA / "tokenizer/bpe.model"))
    writer = tokenizer_writer("tokenizer_sentencepiece", sp.vocab_size())
    ids = range(sp.vocab_size())
    kind = gguf.TokenType
    types = [kind.UNKNOWN if sp.is_unknown(i) else kind.CONTROL if sp.is_control(i) else kind.BYTE if sp.is_byte(i) else kind.NORMAL for i in ids]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([sp.id_to_piece(i) for i in ids])
    writer.add_token_scores([sp.get_score(i) for i in ids])
    writer.add_token_types(types)
    writer.add_bos_token_id(sp.bos_id())
    writer.add_eos_token_id(sp.eos_id())
    writer.add_unk_token_id(sp.unk_id())
    finish(writer)


def tokenizer_writer(name, size):
    """A model that is only large enough to have a vocabulary."""
    writer = gguf.GGUFWriter(OUT / f"{name}.gguf", "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(0)
    writer.add_head_count(1)
    writer.add_tensor("token_embd.weight", quantize(np.zeros((size, 32), np.float32), Q.Q4_0), raw_dtype=Q.Q4_0)
    return writer


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    logits = {"input_ids": IDS[0]}
    for case in CASES:
        write_model(case, logits)
    save_file(logits, OUT / "logits.safetensors")
    for name, pre in (("gpt2", "gpt-2"), ("llama3", "llama-bpe"), ("qwen2", "qwen2"), ("smollm", "smollm"), ("falcon", "falcon")):
        write_tokenizer(name, pre)
    write_sentencepiece()
    versions = {m.__name__: m.__version__ for m in (torch, transformers, np)} | {"gguf": "0.19.0"}
    (OUT / "VERSIONS.json").write_text(json.dumps(versions, indent=2) + "\n")


if __name__ == "__main__":
    main()
