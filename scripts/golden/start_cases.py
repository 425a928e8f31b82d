"""The cases without an initial adapter: PEFT computes it from the weights or from the data."""

from llama_cases import Case, lora, shape, smallest_shape, training

START_CASES = {
    "pissa": Case(
        seed=21, starts_itself=True, num_rows=23, first_length=11,
        shape=shape(hidden_size=30, intermediate_size=44, num_attention_heads=3, num_key_value_heads=1, vocab_size=89),
        adapter=lora(r=4, lora_alpha=6, target_modules=["q_proj", "k_proj", "down_proj"], init_lora_weights="pissa",
                     rank_pattern={"k_proj": 3}, alpha_pattern={"down_proj": 10}),
        training=training(lr_scheduler_type="cosine", warmup_steps=2, weight_decay=0.1, max_grad_norm=4.0)),
    "olora": Case(
        seed=22, starts_itself=True, num_rows=22, first_length=17,
        shape=shape(hidden_size=28, intermediate_size=45, num_attention_heads=2, num_key_value_heads=1, vocab_size=83,
                    attention_bias=True),
        adapter=lora(r=3, lora_alpha=2, target_modules=["v_proj", "o_proj", "up_proj"], init_lora_weights="olora", use_rslora=True),
        training=training(learning_rate=2e-3, weight_decay=0.05, max_grad_norm=2.0)),
    # batches with too few supervised tokens for some modules, and modules that end without a rank
    "eva": Case(
        seed=23, starts_itself=True, num_rows=26, first_length=9,
        shape=shape(hidden_size=32, intermediate_size=38, num_attention_heads=4, num_key_value_heads=2, vocab_size=79),
        adapter=lora(r=1, lora_alpha=5, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"], init_lora_weights="eva",
                     rank_pattern={"o_proj": 2}, eva_config={"rho": 3.0, "tau": 0.99}),
        training=training(learning_rate=1e-2, weight_decay=0.1, max_grad_norm=4.0)),
    "corda": Case(
        seed=24, starts_itself=True, num_rows=13, first_length=9, shape=smallest_shape(attention_bias=True),
        adapter=lora(r=3, lora_alpha=5, target_modules=["q_proj", "k_proj", "o_proj", "down_proj"], init_lora_weights="corda",
                     rank_pattern={"k_proj": 2}, corda_config={"corda_method": "ipm", "num_documents": 7}),
        training=training(lr_scheduler_type="cosine", warmup_steps=2, weight_decay=0.1, max_grad_norm=3.0)),
    "corda_kpm": Case(
        seed=25, starts_itself=True, num_rows=13, first_length=9, shape=smallest_shape(),
        adapter=lora(r=2, lora_alpha=3, target_modules=["v_proj", "gate_proj", "up_proj"], init_lora_weights="corda", use_rslora=True,
                     corda_config={"corda_method": "kpm", "num_documents": 13}),
        training=training(learning_rate=2e-3, weight_decay=0.05, max_grad_norm=2.0)),
    # a decomposition of as many singular vectors as the gradient has: it does not depend on random numbers, except for signs
    "lora_ga": Case(
        seed=26, starts_itself=True, num_rows=13, first_length=9, shape=smallest_shape(),
        adapter=lora(r=4, lora_alpha=6, target_modules=["q_proj", "o_proj", "down_proj"], init_lora_weights="lora_ga",
                     rank_pattern={"o_proj": 3}, lora_ga_config={"direction": "ArB2r", "scale": "stable", "stable_gamma": 9,
                                                               "num_batches": 3}),
        training=training(learning_rate=2e-3, weight_decay=0.05, max_grad_norm=2.0)),
}
