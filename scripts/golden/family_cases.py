"""The cases of the other model families, one or more per family: what a family has that Llama does not, in a tiny shape.

The checkpoints are bfloat16, so that they are small; every number is computed in float32. Windows are shorter than the
documents, caps are small enough to have an effect, and head_dim is not hidden_size / heads where the family has the key.
"""

import torch
from llama_cases import Case, lora, training


def family_shape(**changes) -> dict:
    base = dict(vocab_size=89, hidden_size=24, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False, pad_token_id=0,
                rope_parameters={"rope_type": "default", "rope_theta": 10000.0})  # fmt: skip
    return base | changes


def family_case(model_type: str, seed: int, max_grad_norm: float, shape: dict, adapter: dict | None = None, **changes) -> Case:
    settings = dict(
        seed=seed, model_type=model_type, checkpoint_dtype=torch.bfloat16, num_rows=17, first_length=19,
        adapter=adapter or lora(r=2, lora_alpha=3, target_modules="all-linear"),
        training=training(weight_decay=0.1, warmup_steps=2, adam_epsilon=1e-6, max_grad_norm=max_grad_norm))  # fmt: skip
    return Case(shape=family_shape(**shape), **(settings | changes))


def own_case(model_type: str, seed: int, max_grad_norm: float, shape: dict, **changes) -> Case:
    """A case of a family whose config has other keys."""
    case = family_case(model_type, seed, max_grad_norm, {}, **changes)
    case.shape = dict(vocab_size=89, bos_token_id=1, eos_token_id=2) | shape
    return case


def rope(partial: float | None = None, theta: float = 10000.0) -> dict:
    parameters = {"rope_type": "default", "rope_theta": theta}
    return parameters if partial is None else parameters | {"partial_rotary_factor": partial}


# the base's own dropout is off, as two generators never draw the same
GPT2 = dict(n_embd=24, n_inner=37, n_layer=2, n_head=4, n_positions=96, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
NEOX = dict(hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=64)
FALCON = dict(hidden_size=32, ffn_hidden_size=37, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64)
STABLELM = dict(hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
                max_position_embeddings=64)  # fmt: skip
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]

FAMILY_CASES = {
    # biases of q, k and v only; the second layer has a window
    "qwen2": family_case(
        "qwen2", 61, 9.0, dict(tie_word_embeddings=True, use_sliding_window=True, sliding_window=5, max_window_layers=1), dialect="v4"),
    "mistral": family_case("mistral", 62, 3.0, dict(head_dim=10, sliding_window=7, rms_norm_eps=1e-5), dialect="v4"),
    # norms of queries and keys, per head
    "qwen3": family_case(
        "qwen3", 63, 4.0, dict(head_dim=10, num_key_value_heads=1, use_sliding_window=True, sliding_window=6,
                               layer_types=["sliding_attention", "full_attention"])),
    # the published files name an activation that the model does not use
    "gemma": family_case(
        "gemma", 64, 7.0, dict(hidden_size=30, num_attention_heads=3, num_key_value_heads=1, head_dim=12, tie_word_embeddings=True),
        dialect="v4", config_changes={"hidden_act": "gelu", "hidden_activation": None}),
    "gemma2": family_case(
        "gemma2", 65, 1.0, dict(head_dim=8, query_pre_attn_scalar=11, sliding_window=6, attn_logit_softcapping=2.0,
                                final_logit_softcapping=3.0, tie_word_embeddings=True), dialect="v4"),
    "gemma3_text": family_case(
        "gemma3_text", 66, 3.0, dict(
            num_hidden_layers=3, intermediate_size=29, head_dim=10, query_pre_attn_scalar=13, sliding_window=5, tie_word_embeddings=True,
            layer_types=["sliding_attention", "sliding_attention", "full_attention"], rope_parameters={
                "full_attention": {"rope_type": "linear", "rope_theta": 20000.0, "factor": 8.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 500.0}})),
    # fused projections, rotary embedding of a part of each head, documents on both sides of the length at which frequencies change
    "phi3": family_case(
        "phi3", 67, 4.0, dict(hidden_size=32, original_max_position_embeddings=16, sliding_window=9, rope_parameters={
            "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75, "short_factor": [1.0, 1.1, 1.4],
            "long_factor": [1.2, 2.0, 3.5]})),
    "smollm3": family_case("smollm3", 68, 7.0, dict(no_rope_layers=[1, 0], tie_word_embeddings=True, rope_parameters=None)),
    # norms after the blocks, and norms over all queries and keys of a token together
    "olmo2": family_case("olmo2", 69, 3.0, dict(rms_norm_eps=1e-5)),
    # learned positions, Conv1D; config.json has dropout, which run.json turns off
    "gpt2": own_case("gpt2", 71, 2.0, GPT2 | dict(resid_pdrop=0.1, embd_pdrop=0.1, attn_pdrop=0.1), model={"base_dropout": 0}),
    "gpt2_scales": own_case("gpt2", 72, 1.2, GPT2 | dict(activation_function="gelu", scale_attn_by_inverse_layer_idx=True, n_inner=None,
                                                         n_embd=16, tie_word_embeddings=False),
                            adapter=lora(r=2, lora_alpha=3, use_dora=True, target_modules=["c_attn", "c_proj", "wpe"])),
    # q, k and v of a head side by side, rotary embedding of a part of each head, both blocks in parallel
    "gpt_neox": own_case("gpt_neox", 73, 1.3, NEOX | dict(rope_parameters=rope(0.375, 5000.0))),
    "gpt_neox_serial": own_case("gpt_neox", 74, 1.7, NEOX | dict(num_attention_heads=4, attention_bias=False, use_parallel_residual=False,
                                                                 tie_word_embeddings=True, hidden_act="gelu_new")),
    # one key head; several key heads and two norms; one key head per query head, one block after the other
    "falcon": own_case("falcon", 75, 1.4, FALCON),
    "falcon_new": own_case("falcon", 76, 2.5, FALCON | dict(num_attention_heads=8, num_kv_heads=2, new_decoder_architecture=True, bias=True,
                                                            tie_word_embeddings=False)),
    "falcon_serial": own_case("falcon", 77, 3.0, FALCON | dict(multi_query=False, parallel_attn=False, bias=True)),
    # a norm for each head; one norm for both blocks
    "stablelm": own_case("stablelm", 78, 2.5, STABLELM | dict(use_qkv_bias=True, qk_layernorm=True, rope_parameters=rope(0.375, 5000.0))),
    "stablelm_parallel": own_case("stablelm", 79, 3.5, STABLELM | dict(num_key_value_heads=2, use_parallel_residual=True,
                                                                       tie_word_embeddings=True)),
    # few experts per token, with a router that is trained in full; layers with and without experts
    "mixtral": family_case("mixtral", 80, 3.0, dict(head_dim=10, intermediate_size=19, sliding_window=7, num_local_experts=5,
                                                    num_experts_per_tok=2),
                           adapter=lora(r=2, lora_alpha=3, target_modules=ATTENTION, modules_to_save=["gate"])),
    "qwen3_moe": family_case("qwen3_moe", 81, 2.3, dict(head_dim=10, num_key_value_heads=1, num_hidden_layers=3, moe_intermediate_size=11,
                                                        num_experts=6, num_experts_per_tok=3, norm_topk_prob=True, mlp_only_layers=[1]),
                             adapter=lora(r=2, lora_alpha=3, target_modules=ATTENTION)),
}  # fmt: skip

# every weight trained, in the layout of the file; the keys' bias does not affect attention: its gradient is rounding error only
FULL_FAMILY_CASES = {
    "gpt2_full": own_case("gpt2", 82, 2.0, GPT2 | dict(n_embd=16, n_inner=None)),
}
for full in FULL_FAMILY_CASES.values():
    full.adapter = None
    full.training = full.training | {"max_steps": 10, "adam_epsilon": 1e-3}
