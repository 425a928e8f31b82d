"""The cases of QLoRA, in tests/data/quantized/training: adapters on a tiny Llama that is quantised while it is loaded.

Rows of 64 and of 36 elements: blocks of 64 end with rows, or cross them. bitsandbytes 0.50.2 dequantises both correctly on every CPU.
"""

import torch
from llama_cases import Case, lora, shape, training

SHAPE = dict(vocab_size=48, hidden_size=64, intermediate_size=36, num_attention_heads=4, num_key_value_heads=1, tie_word_embeddings=True)


def quantized_case(seed: int, max_grad_norm: float, quantization: dict, num_layers: int = 1, **adapter) -> Case:
    return Case(
        seed=seed, shape=shape(**SHAPE, num_hidden_layers=num_layers), checkpoint_dtype=torch.bfloat16, num_rows=17, first_length=9,
        tests_model=False,
        adapter=lora(**dict(r=2, lora_alpha=3, target_modules="all-linear") | adapter), model={"quantization": quantization},
        training=training(weight_decay=0.1, warmup_steps=2, adam_epsilon=1e-6, max_grad_norm=max_grad_norm))  # fmt: skip


QUANTIZED_CASES = {
    "nf4": quantized_case(91, 12.0, dict(type="nf4"), num_layers=2),
    "nf4_dq": quantized_case(92, 6.0, dict(type="nf4", double_quant=True)),
    "fp4": quantized_case(93, 8.0, dict(type="fp4", skip_modules=["up_proj"])),
    "int8": quantized_case(94, 7.0, dict(type="int8")),
    "nf4_dora": quantized_case(95, 5.5, dict(type="nf4"), use_dora=True, target_modules=["q_proj", "v_proj", "down_proj"]),
}
