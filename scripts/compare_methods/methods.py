"""The methods that are compared."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Method:
    adapter: dict | None  # the config's adapter section; None: all weights are trained
    rates: tuple[float, float]  # two learning rates, of which the better one counts
    training: dict = field(default_factory=dict)  # further keys of the config's training section
    model: dict = field(default_factory=dict)  # and of its model section


ALL = "all-linear"
LORA = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ALL}

METHODS: dict[str, Method] = {
    "full fine-tuning": Method(None, (2e-5, 1e-4)),
    "BitFit": Method({"peft_type": "BITFIT"}, (1e-3, 5e-3)),
    "LN tuning": Method({"peft_type": "LN_TUNING"}, (1e-3, 5e-3)),
    "LoRA": Method(LORA, (3e-4, 1e-3)),
    "rsLoRA": Method(LORA | {"use_rslora": True}, (3e-4, 1e-3)),
    "DoRA": Method(LORA | {"use_dora": True}, (3e-4, 1e-3)),
    "PiSSA": Method(LORA | {"init_lora_weights": "pissa"}, (1e-4, 3e-4)),
    "LoRA-FA": Method(LORA, (3e-4, 1e-3), training={"optim": "lora_fa"}),
    "QLoRA (NF4)": Method(LORA, (3e-4, 1e-3), model={"quantization": {"type": "nf4"}}),
    "adapters (Houlsby)": Method({"peft_type": "BOTTLENECK", "config": "double_seq_bn"}, (3e-4, 1e-3)),
    "adapters (Pfeiffer)": Method({"peft_type": "BOTTLENECK", "config": "seq_bn"}, (3e-4, 1e-3)),
    "adapters (parallel)": Method({"peft_type": "BOTTLENECK", "config": "par_bn"}, (3e-4, 1e-3)),
    "prefix tuning": Method({"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 16}, (1e-3, 1e-2)),
    "prompt tuning": Method({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 16}, (1e-2, 1e-1)),
    "P-tuning": Method({"peft_type": "P_TUNING", "num_virtual_tokens": 16, "encoder_hidden_size": 128}, (1e-3, 1e-2)),
    "IA3": Method({"peft_type": "IA3"}, (1e-3, 1e-2)),
    "VeRA": Method({"peft_type": "VERA", "r": 256, "target_modules": ALL}, (1e-3, 1e-2)),
    "AdaLoRA": Method({"peft_type": "ADALORA", "init_r": 12, "target_r": 8, "lora_alpha": 16, "target_modules": ALL}, (1e-3, 3e-3)),
    "LoHa": Method({"peft_type": "LOHA", "r": 8, "alpha": 16, "target_modules": ALL}, (3e-4, 1e-3)),
    "LoKr": Method({"peft_type": "LOKR", "r": 8, "alpha": 16, "target_modules": ALL}, (1e-3, 3e-3)),
    "OFT": Method({"peft_type": "OFT", "oft_block_size": 32, "target_modules": ALL}, (3e-4, 1e-3)),
    "BOFT": Method({"peft_type": "BOFT", "boft_block_size": 4, "target_modules": ALL}, (1e-3, 3e-3)),
    "MiSS": Method({"peft_type": "MISS", "r": 8, "target_modules": ALL}, (3e-4, 1e-3)),
    "RandLoRA": Method({"peft_type": "RANDLORA", "r": 32, "target_modules": ALL}, (3e-4, 1e-3)),
    "HRA": Method({"peft_type": "HRA", "r": 8, "target_modules": ALL}, (3e-4, 1e-3)),
} | {f"LoRA r={r}": Method(LORA | {"r": r, "lora_alpha": 2 * r}, (3e-4, 1e-3)) for r in (1, 2, 4, 8, 16, 64)}
