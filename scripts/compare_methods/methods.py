"""The methods that are compared: a name, its adapter section, and the two learning rates of which the better one counts."""

ALL = "all-linear"
LORA = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ALL}

METHODS: dict[str, tuple[dict | None, tuple[float, float]]] = {
    "full fine-tuning": (None, (2e-5, 1e-4)),
    "BitFit": ({"peft_type": "BITFIT"}, (1e-3, 5e-3)),
    "LN tuning": ({"peft_type": "LN_TUNING"}, (1e-3, 5e-3)),
    "LoRA": (LORA, (3e-4, 1e-3)),
    "rsLoRA": (LORA | {"use_rslora": True}, (3e-4, 1e-3)),
    "DoRA": (LORA | {"use_dora": True}, (3e-4, 1e-3)),
    "PiSSA": (LORA | {"init_lora_weights": "pissa"}, (1e-4, 3e-4)),
    "adapters (Houlsby)": ({"peft_type": "BOTTLENECK", "config": "double_seq_bn"}, (3e-4, 1e-3)),
    "adapters (Pfeiffer)": ({"peft_type": "BOTTLENECK", "config": "seq_bn"}, (3e-4, 1e-3)),
    "adapters (parallel)": ({"peft_type": "BOTTLENECK", "config": "par_bn"}, (3e-4, 1e-3)),
    "prefix tuning": ({"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 16}, (1e-3, 1e-2)),
    "prompt tuning": ({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 16}, (1e-2, 1e-1)),
    "P-tuning": ({"peft_type": "P_TUNING", "num_virtual_tokens": 16, "encoder_hidden_size": 128}, (1e-3, 1e-2)),
    "IA3": ({"peft_type": "IA3"}, (1e-3, 1e-2)),
    "VeRA": ({"peft_type": "VERA", "r": 256, "target_modules": ALL}, (1e-3, 1e-2)),
    "AdaLoRA": ({"peft_type": "ADALORA", "init_r": 12, "target_r": 8, "lora_alpha": 16, "target_modules": ALL}, (1e-3, 3e-3)),
    "LoHa": ({"peft_type": "LOHA", "r": 8, "alpha": 16, "target_modules": ALL}, (3e-4, 1e-3)),
    "LoKr": ({"peft_type": "LOKR", "r": 8, "alpha": 16, "target_modules": ALL}, (1e-3, 3e-3)),
    "OFT": ({"peft_type": "OFT", "oft_block_size": 32, "target_modules": ALL}, (3e-4, 1e-3)),
    "BOFT": ({"peft_type": "BOFT", "boft_block_size": 4, "target_modules": ALL}, (1e-3, 3e-3)),
    "MiSS": ({"peft_type": "MISS", "r": 8, "target_modules": ALL}, (3e-4, 1e-3)),
    "RandLoRA": ({"peft_type": "RANDLORA", "r": 32, "target_modules": ALL}, (3e-4, 1e-3)),
    "HRA": ({"peft_type": "HRA", "r": 8, "target_modules": ALL}, (3e-4, 1e-3)),
} | {f"LoRA r={r}": (LORA | {"r": r, "lora_alpha": 2 * r}, (3e-4, 1e-3)) for r in (1, 2, 4, 8, 16, 64)}
