"""Writes tests/data/quantized/gguf_models: tiny models as GGUF files, with the keys, names, types and orders of llama.cpp's converter.

<case>.gguf                    metadata, tokenizer, chat template and tensors
<case>.expected.safetensors    `input_ids` [T] and `logits` [T, vocab]: float32, of the transformers model whose weights are what
                               PyPI's gguf dequantises
<case>.expected.json           {"config": the keys of config.json that matter, "texts", "ids": of the tokenizer, "chat_template"}

transformers' own loader of GGUF has to give the same logits; `load_config` is what it does not take from the file.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from gguf import MODEL_ARCH, GGMLQuantizationType, GGUFWriter, RopeScalingType, get_tensor_name_map
from gguf.quants import dequantize, quantize
from gguf_blocks import SCALES, random_blocks
from gguf_tokenizers import CHAT_TEMPLATE, TEXTS, ByteLevel, SentencePiece
from llama_cases import randomize
from llama_reference import be_quiet, one_thread
from quantized import QUANTIZED, print_size, require, save, write_versions
from small_adapters import write_json
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

FOLDER = QUANTIZED / "gguf_models"
PYTHON_QUANTIZES = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")


@dataclass
class Case:
    arch: MODEL_ARCH
    model_type: str
    config: dict
    tokenizer: SentencePiece | ByteLevel
    types: dict[str, str]  # part of GGUF's tensor name: block type; the first that matches, else "Q8_0"; vectors are F32
    write_keys: Callable[[GGUFWriter, object], None]
    load_config: dict | None = None


def common_keys(writer: GGUFWriter, config) -> None:
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    if config.model_type == "gpt2":
        writer.add_feed_forward_length(4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def rope_keys(writer: GGUFWriter, config) -> None:
    common_keys(writer, config)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])


def llama_keys(writer: GGUFWriter, config) -> None:
    rope_keys(writer, config)
    writer.add_vocab_size(config.vocab_size)
    writer.add_rope_dimension_count(config.head_dim)
    head_keys(writer, config)


def head_keys(writer: GGUFWriter, config) -> None:
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)


def qwen3_keys(writer: GGUFWriter, config) -> None:
    rope_keys(writer, config)
    head_keys(writer, config)


def gemma3_keys(writer: GGUFWriter, config) -> None:
    common_keys(writer, config)
    head_keys(writer, config)
    rope = config.rope_parameters["full_attention"]
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_scaling_type(RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(rope["factor"])
    writer.add_sliding_window(config.sliding_window)


def phi3_keys(writer: GGUFWriter, config) -> None:
    rope_keys(writer, config)
    writer.add_rope_scaling_orig_ctx_len(config.original_max_position_embeddings)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_sliding_window(config.sliding_window)


def shape(**changes) -> dict:
    base = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
                max_position_embeddings=128, rms_norm_eps=1e-5, rope_parameters={"rope_type": "default", "rope_theta": 20000.0},
                tie_word_embeddings=False, pad_token_id=None)  # fmt: skip
    return base | changes


GEMMA3_ROPE = {"full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
               "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}  # fmt: skip
CASES = {
    # a Q4_K_M mix; rows that are no multiple of 256 fall back to Q5_0 and Q8_0, as in llama.cpp
    "llama": Case(MODEL_ARCH.LLAMA, "llama", shape(hidden_size=256, intermediate_size=32, head_dim=16, tie_word_embeddings=True),
                  SentencePiece(), {"token_embd": "Q6_K", "attn_v": "Q6_K", "attn_output": "Q5_0", "ffn_gate": "Q5_K", "ffn_up": "IQ4_XS",
                                    "ffn_down": "Q8_0", "": "Q4_K"}, llama_keys),
    "gemma3": Case(MODEL_ARCH.GEMMA3, "gemma3_text", dict(
        hidden_size=32, intermediate_size=32, num_hidden_layers=6, num_attention_heads=2, num_key_value_heads=1, head_dim=16,
        max_position_embeddings=128, rms_norm_eps=1e-6, query_pre_attn_scalar=16, sliding_window=4, rope_parameters=GEMMA3_ROPE,
        tie_word_embeddings=True), SentencePiece(), {"attn_k": "Q5_1", "ffn_up": "Q4_1", "": "Q8_0"}, gemma3_keys,
        load_config=dict(rope_parameters=GEMMA3_ROPE, query_pre_attn_scalar=16)),
    "qwen2": Case(MODEL_ARCH.QWEN2, "qwen2", shape(use_sliding_window=False), ByteLevel("qwen2", "qwen2"),
                  {"token_embd": "Q4_0", "output.weight": "Q8_0", "attn_v": "Q5_1", "ffn_down": "IQ4_NL", "": "Q4_0"}, rope_keys),
    "qwen3": Case(MODEL_ARCH.QWEN3, "qwen3", shape(head_dim=24, tie_word_embeddings=True, use_sliding_window=False),
                  ByteLevel("qwen2", "qwen2"), {"attn_q": "BF16", "attn_k": "F16", "": "Q5_0"}, qwen3_keys, load_config=dict(head_dim=24)),
    "gpt2": Case(MODEL_ARCH.GPT2, "gpt2", dict(n_embd=64, n_layer=1, n_head=4, n_positions=32, bos_token_id=None, eos_token_id=None),
                 ByteLevel("gpt2", "gpt-2"), {"position_embd": "F32", "attn_qkv": "Q8_0", "": "Q4_1"}, common_keys,
                 load_config=dict(n_positions=32)),
    "phi3": Case(MODEL_ARCH.PHI3, "phi3", shape(sliding_window=9, original_max_position_embeddings=128), SentencePiece(),
                 {"attn_qkv": "Q4_0", "ffn_up": "Q4_1", "": "Q8_0"}, phi3_keys, load_config=dict(pad_token_id=None)),
}  # fmt: skip


def permuted(weight: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's LlamaModel.permute."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def unpermuted(weight: np.ndarray, heads: int) -> np.ndarray:
    return weight.reshape(heads, weight.shape[0] // heads // 2, 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def orders_of(case: Case, name: str, config) -> tuple[Callable, Callable]:
    """What the converter does with a tensor, and how it is undone."""
    if case.model_type == "llama" and ("q_proj" in name or "k_proj" in name):
        heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
        return lambda w: permuted(w, heads), lambda w: unpermuted(w, heads)
    if case.model_type == "gemma3_text" and name.endswith("norm.weight"):
        return lambda w: w + 1, lambda w: w - 1
    if case.model_type == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
        return lambda w: w.T, lambda w: w.T
    return lambda w: w, lambda w: w


def packed(data: np.ndarray, kind: GGMLQuantizationType, generator: np.random.Generator) -> np.ndarray:
    """Quantised by gguf, or, where it only dequantises, random blocks: the model gets their values."""
    if kind.name in PYTHON_QUANTIZES:
        return quantize(data, kind)
    require(kind.name in SCALES, kind.name)
    return random_blocks(kind, *data.shape, generator)


def type_of(case: Case, name: str, data: np.ndarray) -> GGMLQuantizationType:
    if data.ndim == 1:
        return GGMLQuantizationType.F32
    return GGMLQuantizationType[next((kind for part, kind in case.types.items() if part in name), "Q8_0")]


def add_tensors(case: Case, writer: GGUFWriter, model: PreTrainedModel, generator: np.random.Generator) -> None:
    """Writes every tensor and gives the model its dequantised values."""
    names = get_tensor_name_map(case.arch, model.config.num_hidden_layers)
    for name, parameter in model.named_parameters():
        gguf_name = names.get_name(name, try_suffixes=(".weight", ".bias"))
        require(gguf_name is not None, name)
        order, undo = orders_of(case, name, model.config)
        data = np.ascontiguousarray(order(parameter.detach().numpy()))
        kind = type_of(case, gguf_name, data)
        raw = packed(data, kind, generator)
        writer.add_tensor(gguf_name, raw, raw_dtype=kind)
        values = np.ascontiguousarray(undo(dequantize(raw, kind).astype(np.float32)))
        parameter.data.copy_(torch.from_numpy(values))


def write_file(case: Case, path: Path, model: PreTrainedModel, seed: int) -> None:
    writer = GGUFWriter(path, case.arch.name.lower())
    writer.add_type("model")
    writer.add_name(f"tiny {path.stem}")
    case.write_keys(writer, model.config)
    writer.add_file_type(15 if case.arch == MODEL_ARCH.LLAMA else 7)
    writer.add_quantization_version(2)
    case.tokenizer.write(writer)
    add_tensors(case, writer, model, np.random.default_rng(seed))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@torch.no_grad()
def logits_of(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    return model.eval()(input_ids=ids.unsqueeze(0), use_cache=False).logits[0]


def check_own_loader(case: Case, path: Path, ids: torch.Tensor, logits: torch.Tensor) -> None:
    theirs = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager", **case.load_config or {})  # fmt: skip
    difference = (logits_of(theirs, ids) - logits).abs().max().item()
    print(f"{path.name}: transformers' own loader differs by {difference:.1e}")
    require(difference < 1e-4 * logits.abs().max(), f"{path.name}: transformers' own loader gives other logits")


def ids_of_texts(case: Case, path: Path) -> list[list[int]]:
    """Of transformers' own loader. For Gemma of SentencePiece itself, as that loader ignores the file's add_space_prefix."""
    if case.model_type == "gemma3_text":
        return [case.tokenizer.encode(text) for text in TEXTS]
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    return [tokenizer(text).input_ids for text in TEXTS]


def write_case(name: str, case: Case, seed: int) -> None:
    path = FOLDER / f"{name}.gguf"
    config = AutoConfig.for_model(case.model_type, **case.config | {"vocab_size": case.tokenizer.size})
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
    randomize(model, torch.Generator().manual_seed(seed))
    write_file(case, path, model, seed)
    ids = torch.randint(0, case.tokenizer.size, (9,), generator=torch.Generator().manual_seed(seed))
    logits = logits_of(model, ids)
    check_own_loader(case, path, ids, logits)
    save({"input_ids": ids, "logits": logits}, FOLDER / f"{name}.expected.safetensors")
    expected = {"config": {"model_type": case.model_type} | case.config | {"vocab_size": case.tokenizer.size}, "texts": TEXTS,
                "ids": ids_of_texts(case, path), "chat_template": CHAT_TEMPLATE}  # fmt: skip
    (FOLDER / f"{name}.expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    be_quiet()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for i, (name, case) in enumerate(CASES.items()):
        write_case(name, case, 290 + i)
    write_versions(FOLDER, "gguf", "numpy", "transformers", "tokenizers", "sentencepiece")
    print_size(FOLDER)


if __name__ == "__main__":
    with one_thread():
        main()
