"""The cases of sequence classification: decoders of three kinds, and the encoders; random weights of small odd shapes, bfloat16 files.

The bases are like those that people start from: models with another head, or with none.
"""

import torch
from family_cases import GPT2, family_shape
from llama_cases import Case, Labels, lora, training

ENCODER = dict(vocab_size=89, hidden_size=24, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64,
               hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)  # fmt: skip
DISTILBERT = dict(vocab_size=89, dim=24, hidden_dim=37, n_layers=2, n_heads=4, max_position_embeddings=64, dropout=0.0,
                  attention_dropout=0.0, seq_classif_dropout=0.0)  # fmt: skip
MODERNBERT = dict(vocab_size=89, hidden_size=24, intermediate_size=37, num_hidden_layers=4, num_attention_heads=3,
                  max_position_embeddings=64, local_attention=6, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1,
                  sep_token_id=2,
                  rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": 160000.0},
                                   "sliding_attention": {"rope_type": "default", "rope_theta": 500.0}})  # fmt: skip


def case(model_type: str, seed: int, max_grad_norm: float, shape: dict, labels: Labels, base_class: str, **changes) -> Case:
    settings = dict(
        seed=seed, model_type=model_type, checkpoint_dtype=torch.bfloat16, num_rows=17, first_length=19, shape=shape, labels=labels,
        base_class=base_class, adapter=lora(r=2, lora_alpha=3, target_modules="all-linear"),
        training=training(weight_decay=0.1, warmup_steps=2, adam_epsilon=1e-6, max_grad_norm=max_grad_norm, eval_steps=10))  # fmt: skip
    return Case(**(settings | changes))


CLASSIFICATION_CASES = {
    # some rows end with the padding id: the token before it is pooled
    "llama_classes": case("llama", 91, 1.5, family_shape(vocab_size=17), Labels(3), "AutoModelForCausalLM"),
    # class names; the base's head is tied
    "qwen2_names": case("qwen2", 92, 1.5, family_shape(tie_word_embeddings=True), Labels(2, names=["no", "entailed"]),
                        "AutoModelForCausalLM", adapter=lora(r=2, lora_alpha=3)),
    # no padding token; a regression
    "gpt2_values": case("gpt2", 93, 4.0, dict(vocab_size=89, bos_token_id=1, eos_token_id=2) | GPT2, Labels(1), "AutoModelForCausalLM",
                        adapter=lora(r=2, lora_alpha=3, target_modules=["c_attn"])),
    # two texts per row
    "bert_pairs": case("bert", 94, 1.0, ENCODER, Labels(3, pairs=True), "AutoModelForPreTraining"),
    # the file holds only the body, under names without "bert."
    "bert_values": case("bert", 95, 2.0, ENCODER, Labels(1), "AutoModel", adapter=lora(r=2, lora_alpha=3, target_modules=["query", "value"])),
    "roberta_classes": case("roberta", 106, 1.0, ENCODER | dict(type_vocab_size=1, pad_token_id=1), Labels(3), "AutoModelForMaskedLM"),
    "distilbert_classes": case("distilbert", 97, 1.0, DISTILBERT, Labels(4), "AutoModelForMaskedLM",
                               adapter=lora(r=2, lora_alpha=3, target_modules=["q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"])),
    # windows in three of four layers
    "modernbert_mean": case("modernbert", 98, 0.5, MODERNBERT | dict(classifier_pooling="mean"), Labels(3), "AutoModelForMaskedLM"),
    "modernbert_first": case("modernbert", 99, 0.5,
                             MODERNBERT | dict(num_hidden_layers=3, attention_bias=True, mlp_bias=True, norm_bias=True, classifier_bias=True),
                             Labels(2), "AutoModelForMaskedLM"),
}  # fmt: skip

# every weight is trained; the head is in the base's file
FULL_CLASSIFICATION_CASES = {
    "bert_full": case("bert", 100, 1.0, ENCODER | dict(num_labels=2), Labels(2), "AutoModelForSequenceClassification", adapter=None),
}
