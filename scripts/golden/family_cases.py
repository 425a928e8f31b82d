"""The cases of the other model families, one or more a family: what a family has that Llama does not, at a tiny shape.

The checkpoints are bfloat16, so that they are small; every number is computed in float32. Windows are shorter than the
documents, caps are small enough to bite, head_dim is not hidden_size / heads where the family has the key.
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


FAMILY_CASES = {
    # biases of q, k and v alone; the second layer has a window
    "qwen2": family_case(
        "qwen2", 61, 9.0, dict(tie_word_embeddings=True, use_sliding_window=True, sliding_window=5, max_window_layers=1), dialect="v4"),
    "mistral": family_case("mistral", 62, 3.0, dict(head_dim=10, sliding_window=7, rms_norm_eps=1e-5), dialect="v4"),
    # norms of queries and keys, head by head
    "qwen3": family_case(
        "qwen3", 63, 4.0, dict(head_dim=10, num_key_value_heads=1, use_sliding_window=True, sliding_window=6,
                               layer_types=["sliding_attention", "full_attention"])),
    # the published files name an activation that is not meant
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
    # fused projections, a part of each head turned, documents on both sides of the length at which frequencies change
    "phi3": family_case(
        "phi3", 67, 4.0, dict(hidden_size=32, original_max_position_embeddings=16, sliding_window=9, rope_parameters={
            "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75, "short_factor": [1.0, 1.1, 1.4],
            "long_factor": [1.2, 2.0, 3.5]})),
    "smollm3": family_case("smollm3", 68, 7.0, dict(no_rope_layers=[1, 0], tie_word_embeddings=True, rope_parameters=None)),
    # norms behind the blocks, and of all queries and keys of a token together
    "olmo2": family_case("olmo2", 69, 3.0, dict(rms_norm_eps=1e-5)),
}  # fmt: skip
