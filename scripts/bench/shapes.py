"""Shapes of real models (with random weights here) and the formulas for the cost of training them."""

from dataclasses import asdict, dataclass

LORA_RANK = 16
LORA_ALPHA = 32
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
TARGETS = {"qv": ("q_proj", "v_proj"), "all-linear": ATTENTION + MLP}


@dataclass(frozen=True)
class Shape:
    """A model of the Llama family."""

    title: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool
    attention_bias: bool = False

    def config(self) -> dict:
        """Content of config.json. With this standard deviation logits have variance 1, so the loss starts near ln(vocabulary)."""
        return {
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "vocab_size": self.vocabulary,
            "tie_word_embeddings": self.tied,
            "attention_bias": self.attention_bias,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-5,
            "initializer_range": self.hidden**-0.5,
        }

    def projections(self) -> dict[str, tuple[int, int]]:
        """(inputs, outputs) of the projections of one layer."""
        kv = self.hidden // self.heads * self.kv_heads
        wide = (self.hidden, self.intermediate)
        return {
            "q_proj": (self.hidden, self.hidden),
            "k_proj": (self.hidden, kv),
            "v_proj": (self.hidden, kv),
            "o_proj": (self.hidden, self.hidden),
            "gate_proj": wide,
            "up_proj": wide,
            "down_proj": wide[::-1],
        }

    def block_parameters(self) -> int:
        return self.layers * sum(inputs * outputs for inputs, outputs in self.projections().values())

    def head_parameters(self) -> int:
        return self.hidden * self.vocabulary

    def lora_parameters(self, targets: str) -> int:
        sizes = self.projections()
        return self.layers * LORA_RANK * sum(sum(sizes[name]) for name in TARGETS[targets])

    def gemms(self, tokens: int, supervised: int) -> list[tuple[int, int, int, int]]:
        """(rows, inputs, outputs, count) of the matrix products of one pass; the head sees supervised tokens only."""
        blocks = [(tokens, inputs, outputs, self.layers) for inputs, outputs in self.projections().values()]
        return [*blocks, (supervised, self.hidden, self.vocabulary, 1)]

    def step_flops(self, targets: str, lengths: list[int], head_tokens: int) -> float:
        """4N + 6P per token, and 6 s d L per token of a document of length s: forward, and backward without the base's gradient.

        Causal attention counts half of the square; recomputation is not counted.
        """
        tokens = sum(lengths)
        linear = 4 * (self.block_parameters() * tokens + self.head_parameters() * head_tokens)
        adapter = 6 * self.lora_parameters(targets) * tokens
        attention = 6 * self.hidden * self.layers * sum(length * length for length in lengths)
        return float(linear + adapter + attention)

    def fields(self) -> dict:
        return asdict(self)


SHAPES = {
    "smollm2-135m": Shape("SmolLM2-135M", 576, 1536, 30, 9, 3, 49152, tied=True),
    "qwen2.5-0.5b": Shape("Qwen2.5-0.5B", 896, 4864, 24, 14, 2, 151936, tied=True, attention_bias=True),
    "tinyllama-1.1b": Shape("TinyLlama-1.1B", 2048, 5632, 22, 32, 4, 32000, tied=False),
    "llama-7b": Shape("LLaMA-7B", 4096, 11008, 32, 32, 32, 32000, tied=False),
    "llama-3.1-8b": Shape("Llama-3.1-8B", 4096, 14336, 32, 32, 8, 128256, tied=False),
    "tiny": Shape("tiny", 64, 128, 2, 4, 2, 1000, tied=True),
    "vocabulary-8k": Shape("4 layers, 256 wide, vocabulary 8192", 256, 768, 4, 4, 2, 8192, tied=True),
    "vocabulary-128k": Shape("4 layers, 256 wide, vocabulary 131072", 256, 768, 4, 4, 2, 131072, tied=True),
}
