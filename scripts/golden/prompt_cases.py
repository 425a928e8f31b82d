"""The cases of virtual tokens, in tests/data/prompts: prefix tuning, prompt tuning and P-tuning, and their start and trained values.

PEFT's file has only what a network computes; the network itself is in prompt_encoder.safetensors, as lora-train writes it.
"""

import torch
from classification_cases import ENCODER
from classification_cases import case as labelled_case
from family_cases import GPT2, family_shape
from llama_cases import Case, Labels, small_shape, training
from peft import PeftConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

PROMPT_TYPES = ("PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING")
ENCODER_FILE = "prompt_encoder.safetensors"


def prompt_case(seed: int, max_grad_norm: float, peft_type: str, model_type: str = "llama", shape: dict | None = None, **adapter) -> Case:
    return Case(
        seed=seed, model_type=model_type, shape=shape or small_shape(), tests_model=False, num_rows=19, first_length=9,
        adapter=dict(peft_type=peft_type, num_virtual_tokens=3) | adapter,
        training=training(weight_decay=0.1, warmup_steps=2, adam_epsilon=1e-6, max_grad_norm=max_grad_norm, learning_rate=1e-2))  # fmt: skip


def labelled(seed: int, max_grad_norm: float, peft_type: str, model_type: str, shape: dict, base_class: str, **adapter) -> Case:
    own = dict(peft_type=peft_type, num_virtual_tokens=3) | adapter
    return labelled_case(model_type, seed, max_grad_norm, shape, Labels(3), base_class, adapter=own)


PROMPT_CASES = {
    # head_dim is not hidden_size / heads, and several query heads share a key head
    "prefix": prompt_case(301, 0.25, "PREFIX_TUNING", shape=small_shape(num_attention_heads=4, num_key_value_heads=2, head_dim=8)),
    "prefix_projection": prompt_case(302, 0.25, "PREFIX_TUNING", prefix_projection=True, encoder_hidden_size=5),
    "prefix_gpt2": prompt_case(303, 0.12, "PREFIX_TUNING", "gpt2", dict(vocab_size=89, bos_token_id=1, eos_token_id=2) | GPT2),
    "prefix_llama_classes": labelled(304, 2.5, "PREFIX_TUNING", "llama", family_shape(vocab_size=17), "AutoModelForCausalLM"),
    "prefix_bert_classes": labelled(305, 1.8, "PREFIX_TUNING", "bert", ENCODER, "AutoModelForPreTraining"),
    "prompt": prompt_case(311, 0.6, "PROMPT_TUNING"),
    # the tokens' rows are scaled, virtual ones are not
    "prompt_gemma": prompt_case(312, 0.8, "PROMPT_TUNING", "gemma",
                                small_shape(hidden_size=30, head_dim=12, tie_word_embeddings=True)),
    "prompt_gpt2": prompt_case(313, 0.15, "PROMPT_TUNING", "gpt2", dict(vocab_size=89, bos_token_id=1, eos_token_id=2) | GPT2),
    # the first virtual token is pooled
    "prompt_bert_classes": labelled(314, 1.6, "PROMPT_TUNING", "bert", ENCODER, "AutoModelForPreTraining"),
    "prompt_roberta_classes": labelled(315, 1.2, "PROMPT_TUNING", "roberta", ENCODER | dict(type_vocab_size=1, pad_token_id=1),
                                       "AutoModelForMaskedLM"),
    "p_tuning": prompt_case(321, 0.8, "P_TUNING", encoder_hidden_size=7),
    "p_tuning_lstm": prompt_case(322, 1.2, "P_TUNING", encoder_reparameterization_type="LSTM", encoder_hidden_size=5),
}  # fmt: skip


def is_prompt(run: dict) -> bool:
    return run["adapter"] is not None and run["adapter"].get("peft_type") in PROMPT_TYPES


def has_virtual_tokens(run: dict) -> bool:
    """Whether a document's first token is predicted too, by the last virtual token."""
    return is_prompt(run) and run["adapter"]["peft_type"] != "PREFIX_TUNING"


def has_network(model: PeftModel) -> bool:
    return len(list(model.prompt_encoder["default"].parameters())) > 1


def encoder_tensors(model: PeftModel) -> dict[str, torch.Tensor]:
    state = model.prompt_encoder["default"].state_dict()
    return {f"prompt_encoder.{name}": tensor.detach().clone().contiguous() for name, tensor in state.items()}


@torch.no_grad()
def randomize_prompt(model: PeftModel, generator: torch.Generator) -> None:
    """No parameter is as it starts: biases and the rows of networks too."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(0.6 * noise) if name.endswith("embedding.weight") else parameter.add_(0.1 * noise)


def save_encoder(model: PeftModel, folder) -> None:
    if has_network(model):
        save_file(encoder_tensors(model), folder / ENCODER_FILE)


@torch.no_grad()
def load_prompt(base: torch.nn.Module, folder) -> PeftModel:
    """The adapter in `folder` for further training, which PeftModel.from_pretrained refuses for prompt learning."""
    config = PeftConfig.from_pretrained(folder)
    config.inference_mode = False
    model = get_peft_model(base, config)
    stored = load_file(folder / "adapter_model.safetensors")
    encoder = {"embedding.weight": stored.pop("prompt_embeddings")}
    if has_network(model):
        encoder = {key.removeprefix("prompt_encoder."): tensor for key, tensor in load_file(folder / ENCODER_FILE).items()}
    model.prompt_encoder["default"].load_state_dict(encoder)
    for name, parameter in model.named_parameters():
        key = name.replace(".modules_to_save.default.", ".")
        if key in stored:
            parameter.copy_(stored.pop(key))
    if stored:
        raise RuntimeError(f"tensors without a parameter: {list(stored)}")
    return model.train(base.training)


def prompt_tensors(model: PeftModel, stored: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What is trained, with the prefix of other adapters' keys, and PEFT's prompt_embeddings, which a network computes."""
    heads = {parameter_name(key): tensor for key, tensor in stored.items() if key != "prompt_embeddings"}
    own = {f"base_model.model.{name}": tensor for name, tensor in encoder_tensors(model).items()}
    return own | heads | {"prompt_embeddings": stored["prompt_embeddings"]}


def parameter_name(name: str) -> str:
    """The key in expected.safetensors: PEFT leaves out its own wrapper and the name of the adapter."""
    name = name.replace(".modules_to_save.default.", ".").replace("prompt_encoder.default.", "prompt_encoder.")
    return "base_model.model." + name.removeprefix("base_model.")
