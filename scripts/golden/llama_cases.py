"""The cases of the Llama family: one row per case, and the code that writes its folder (model, adapter, rows, run.json).

Shapes are tiny and odd, weights are large, no norm is all ones and no bias is zero, so that a mistake shows in the loss.
"""

import json
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch
import transformers
from bitfit import is_bitfit, write_bitfit
from peft import get_peft_config, get_peft_model
from peft.tuners.lora import LoraLayer
from small_adapters import write_json
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

MIN_LENGTH, MAX_LENGTH = 3, 40


@dataclass
class Case:
    seed: int
    shape: dict  # the family's config
    training: dict
    adapter: dict | None  # PEFT's config, of LoRA unless it has a peft_type; None: full fine-tuning
    dialect: str = "v5"  # of config.json: v5 (rope_parameters, dtype) or v4 (rope_theta, rope_scaling, torch_dtype)
    checkpoint_dtype: torch.dtype = torch.float32
    shard_size: str | None = None
    num_rows: int = 29
    first_length: int = 13  # of the first document, whose hidden states are kept
    starts_itself: bool = False  # no init_from: the adapter is initialised as its init_lora_weights says
    tests_model: bool = True  # the base's own hidden states and logits are kept: it represents a kind of model
    paste_whole_config: bool = False  # run.json's adapter section is PEFT's whole adapter_config.json
    v4_rope_scaling: dict = field(default_factory=dict)  # keys to rename in rope_scaling, for old spellings
    model_type: str = "llama"
    config_changes: dict = field(default_factory=dict)  # keys of config.json as published files have them
    model: dict = field(default_factory=dict)  # further keys of run.json's model section
    base_class: str = "AutoModelForCausalLM"  # model class with which transformers writes the base
    labels: "Labels | None" = None  # each row has one label: sequence classification


@dataclass
class Labels:
    count: int  # number of classes; 1: values of a regression
    names: list[str] | None = None  # names of the classes in the rows
    pairs: bool = False  # rows have two texts


def shape(**changes) -> dict:
    base = dict(vocab_size=97, hidden_size=32, intermediate_size=52, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-6, tie_word_embeddings=False,
                rope_parameters={"rope_type": "default", "rope_theta": 10000.0})  # fmt: skip
    return base | changes


def training(**changes) -> dict:
    base = dict(max_steps=20, per_device_train_batch_size=2, per_device_eval_batch_size=3, gradient_accumulation_steps=2,
                learning_rate=5e-3, lr_scheduler_type="linear", warmup_steps=0, weight_decay=0.01, optim="adamw_torch",
                max_grad_norm=1.0, logging_steps=1)  # fmt: skip
    return base | changes


def lora(**changes) -> dict:
    return dict(r=4, lora_alpha=8, lora_dropout=0.0, target_modules=["q_proj", "v_proj"]) | changes


def formula(seed: int, peft_type: str, max_grad_norm: float = 0.5, **options) -> Case:
    """A method that changes projections by a formula; the down projection's inputs and outputs differ."""
    targets = dict(peft_type=peft_type, target_modules=["q_proj", "v_proj", "down_proj"])
    return parts_case(seed=seed, shape=small_shape(attention_bias=True, mlp_bias=True), adapter=targets | options,
                      max_grad_norm=max_grad_norm)


def small_shape(**changes) -> dict:
    return shape(vocab_size=61, hidden_size=24, intermediate_size=28, num_attention_heads=3, num_key_value_heads=1) | changes


def smallest_shape(**changes) -> dict:
    return small_shape(vocab_size=31, hidden_size=12, intermediate_size=20) | changes


def parts_case(seed: int, shape: dict, adapter: dict, **changes) -> Case:
    """A case that is about the trained tensors, not about what the model computes."""
    settings = dict(weight_decay=0.1, warmup_steps=2, max_grad_norm=3.0, adam_epsilon=1e-6) | changes
    return Case(seed=seed, shape=shape, adapter=adapter, tests_model=False, num_rows=21, first_length=9, training=training(**settings))


CASES = {
    # head_dim is not hidden_size / heads; the adapter has PEFT's default targets
    "gqa": Case(
        seed=11, shape=shape(hidden_size=48, num_attention_heads=6, num_key_value_heads=2, head_dim=10, vocab_size=101),
        adapter=lora(), training=training(learning_rate=1e-2, warmup_steps=3, max_grad_norm=4.0), paste_whole_config=True),
    "tied": Case(
        seed=12, shape=shape(tie_word_embeddings=True, num_key_value_heads=4), dialect="v4", num_rows=27,
        adapter=lora(r=3, lora_alpha=2, target_modules="all-linear", use_rslora=True),
        training=training(lr_scheduler_type="cosine", warmup_steps=2, weight_decay=0.1, eval_steps=8, max_grad_norm=6.0,
                          optim="adamw_torch_fused")),
    "llama3": Case(
        seed=13, dialect="v4", num_rows=30,
        shape=shape(hidden_size=40, num_attention_heads=4, num_key_value_heads=1, head_dim=12, vocab_size=113, rope_parameters={
            "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16}),
        adapter=lora(r=5, lora_alpha=7, target_modules=["q_proj", "k_proj", "v_proj", "down_proj"],
                     rank_pattern={"k_proj": 2, "layers.1.self_attn.q_proj": 6, "q_proj": 3},
                     alpha_pattern={"layers.1.self_attn.q_proj": 3, "v_proj": 20}),
        training=training(lr_scheduler_type="polynomial", warmup_steps=4, max_grad_norm=5.0,
                          lr_scheduler_kwargs={"power": 2.0, "lr_end": 1e-4})),
    "biases": Case(
        seed=14, shape=shape(attention_bias=True, mlp_bias=True, vocab_size=103), shard_size="30KB", num_rows=25,
        adapter=lora(target_modules=r"model\.layers\.\d+\.(self_attn\.(q|o)_proj|mlp\.(up|down)_proj)", lora_alpha=6),
        training=training(lr_scheduler_type="cosine_with_restarts", lr_scheduler_kwargs={"num_cycles": 2}, warmup_steps=2,
                          gradient_accumulation_steps=3, max_grad_norm=2.5)),
    "odd": Case(
        seed=15, num_rows=31,
        shape=shape(hidden_size=35, intermediate_size=51, num_hidden_layers=3, num_attention_heads=5, num_key_value_heads=1,
                    head_dim=6, vocab_size=127, rms_norm_eps=1e-5,
                    rope_parameters={"rope_type": "default", "rope_theta": 500000.0}),
        adapter=lora(r=3, lora_alpha=5, target_modules=["q_proj", "o_proj", "gate_proj"], layers_to_transform=[0, 2]),
        training=training(lr_scheduler_type="constant_with_warmup", warmup_steps=0.15, adam_beta1=0.8, adam_beta2=0.95, max_grad_norm=3.0)),
    # the oldest spelling of scaling ("type"), on a bfloat16 checkpoint
    "linear": Case(
        seed=16, dialect="v4", checkpoint_dtype=torch.bfloat16, num_rows=28, v4_rope_scaling={"rope_type": "type"},
        shape=shape(rope_parameters={"rope_type": "linear", "rope_theta": 20000.0, "factor": 2.5}, hidden_size=36,
                    num_attention_heads=3, num_key_value_heads=1, vocab_size=109),
        adapter=lora(r=2, lora_alpha=3, target_modules=["k_proj", "o_proj", "down_proj"], exclude_modules=["layers.0.mlp.down_proj"]),
        training=training(lr_scheduler_type="inverse_sqrt", warmup_steps=3, max_grad_norm=2.0, lr_scheduler_kwargs={"timescale": 5})),
    # documents on both sides of max_position_embeddings
    "dynamic": Case(
        seed=17, num_rows=33, first_length=29,
        shape=shape(rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 3.0}, max_position_embeddings=16,
                    hidden_size=24, num_attention_heads=2, num_key_value_heads=1, vocab_size=131),
        adapter=lora(target_modules=["q_proj", "k_proj", "up_proj"], rank_pattern={"q_proj": 7}, use_rslora=True, lora_alpha=3),
        training=training(lr_scheduler_type="warmup_stable_decay", warmup_steps=3, adam_epsilon=1e-6, max_grad_norm=4.0,
                          lr_scheduler_kwargs={"num_decay_steps": 9, "min_lr_ratio": 0.1})),
    "yarn": Case(
        seed=18, first_length=21,
        shape=shape(hidden_size=40, head_dim=16, num_attention_heads=2, num_key_value_heads=2, rope_parameters={
            "rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 4.0,
            "beta_slow": 0.5, "mscale": 1.0, "mscale_all_dim": 0.4}),
        adapter=lora(target_modules="all-linear", exclude_modules=["gate_proj"], lora_alpha=4),
        training=training(lr_scheduler_type="constant", per_device_train_batch_size=3, optim="adamw_torch_fused", max_grad_norm=2.0)),
    # trained tensors other than the usual pairs
    "dora": parts_case(
        seed=31, shape=small_shape(attention_bias=True),
        adapter=lora(use_dora=True, use_rslora=True, r=3, target_modules=["q_proj", "v_proj", "down_proj"])),
    "lora_bias": parts_case(
        seed=32, shape=small_shape(attention_bias=True, mlp_bias=True),
        adapter=lora(lora_bias=True, bias="lora_only", target_modules=["q_proj", "o_proj", "up_proj"])),
    "bias_all": parts_case(
        seed=45, shape=small_shape(attention_bias=True, mlp_bias=True),
        adapter=lora(use_dora=True, bias="all", r=2, target_modules=["o_proj", "gate_proj"])),
    # "norm" is the end of every norm's name; a module that contains others; trained tokens of an untied embedding
    "modules_to_save": parts_case(
        seed=34, shape=small_shape(mlp_bias=True),
        adapter=lora(target_modules=["q_proj", "k_proj", "up_proj"], modules_to_save=["norm", "lm_head", "layers.1.mlp"],
                     trainable_token_indices={"embed_tokens": [5, 60, 0, 17]})),
    "token_indices": parts_case(
        seed=35, shape=small_shape(tie_word_embeddings=True),
        adapter=lora(target_modules=["q_proj", "v_proj"], trainable_token_indices=[7, 3, 41, 12, 60])),
    "embeddings": parts_case(
        seed=36, shape=small_shape(),
        adapter=lora(use_dora=True, target_modules=["embed_tokens", "lm_head", "v_proj"], rank_pattern={"embed_tokens": 3})),
    # both modules share the memory of their pairs, with two parameters each
    "tied_embeddings": parts_case(
        seed=37, shape=small_shape(tie_word_embeddings=True),
        adapter=lora(target_modules=["embed_tokens", "q_proj"], ensure_weight_tying=True, alpha_pattern={"lm_head": 5})),
    "tied_saved": parts_case(
        seed=38, shape=small_shape(tie_word_embeddings=True),
        adapter=lora(modules_to_save=["lm_head"], ensure_weight_tying=True)),
    # LoRA+: learning rate and decay by kind of tensor
    "loraplus": parts_case(
        seed=46, shape=small_shape(attention_bias=True),
        adapter=lora(bias="lora_only", target_modules=["embed_tokens", "q_proj", "down_proj"], modules_to_save=["lm_head"]),
        weight_decay=0.0, learning_rate=1e-3, loraplus_lr_ratio=16.0, loraplus_weight_decay=0.1, loraplus_lr_embedding=2e-3),
    # tied in the base, separate in the adapter
    "drifting": parts_case(
        seed=39, shape=small_shape(tie_word_embeddings=True),
        adapter=lora(modules_to_save=["embed_tokens"], trainable_token_indices={"lm_head": [9, 2, 33]})),
    "ia3": formula(51, "IA3", feedforward_modules=["down_proj"]),
    "vera": formula(52, "VERA", max_grad_norm=0.02, r=6),
    "loha": formula(53, "LOHA", r=3, alpha=5, rank_pattern={"v_proj": 2}),
    "lokr": formula(54, "LOKR", r=2, alpha=3, decompose_both=True),
    "oft": formula(55, "OFT", oft_block_size=4),
    "boft": formula(56, "BOFT", boft_block_size=4),
    "hra": formula(57, "HRA", r=4),
    "miss": formula(58, "MISS", r=5),
    "miss_bat": formula(59, "MISS", r=4, init_weights="bat"),
    "randlora": formula(60, "RANDLORA", r=5, randlora_alpha=10),
    "lora_fa": parts_case(seed=64, shape=smallest_shape(), adapter=lora(use_rslora=True, rank_pattern={"v_proj": 3}), optim="lora_fa",
                          max_grad_norm=1.0),
    "adalora": parts_case(
        seed=65, shape=smallest_shape(attention_bias=True, mlp_bias=True), max_grad_norm=0.3,
        adapter=dict(peft_type="ADALORA", target_modules=["q_proj", "v_proj", "down_proj"], init_r=5, target_r=2, lora_alpha=6, tinit=2,
                     tfinal=4, deltaT=3, total_step=20)),
    "ln_tuning": formula(61, "LN_TUNING", target_modules=None),
    "trained_tokens": parts_case(
        seed=62, shape=small_shape(tie_word_embeddings=True), adapter=dict(peft_type="TRAINABLE_TOKENS", token_indices=[9, 2, 33]),
        max_grad_norm=0.5),
    "bitfit": parts_case(seed=63, shape=small_shape(attention_bias=True, mlp_bias=True), adapter=dict(peft_type="BITFIT"),
                        max_grad_norm=0.3),
    "full": Case(
        seed=19, dialect="v4", num_rows=13,
        shape=shape(hidden_size=24, num_attention_heads=3, num_key_value_heads=1, intermediate_size=37, tie_word_embeddings=True,
                    attention_bias=True, mlp_bias=True),
        adapter=None,
        training=training(max_steps=10, lr_scheduler_type="linear", warmup_steps=2, weight_decay=0.2, max_grad_norm=6.0,
                          adam_epsilon=1e-6)),
    # some weights without an adapter: a whole layer's, biases everywhere, and the tied table
    "some_weights": Case(
        seed=20, num_rows=17, first_length=9,
        shape=small_shape(tie_word_embeddings=True, attention_bias=True, mlp_bias=True), adapter=None,
        training=training(warmup_steps=2, weight_decay=0.2, max_grad_norm=3.0, adam_epsilon=1e-6,
                          train_parameters=[r"layers\.1\.(mlp|post)", r"_proj\.bias$", "embed_tokens"])),
}  # fmt: skip


def randomize(model: torch.nn.Module, generator: torch.Generator) -> None:
    """Matrices N(0, 1.5²/in) with a std limited to 0.1 to 0.3, norms around one, biases and embeddings far from zero."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name or (parameter.dim() == 1 and name.endswith(".weight")):
            value = parameter.data + 0.3 * noise  # around ones, or around zeros where the model computes 1 + w
        elif parameter.dim() == 1:
            value = 0.2 * noise
        elif "embed_tokens" in name:
            value = 0.5 * noise
        else:
            value = noise * min(0.3, max(0.1, 1.5 / parameter.shape[1] ** 0.5))
        parameter.data.copy_(value)


def to_v4(config: dict, renames: dict) -> dict:
    """config.json as transformers 4 wrote it."""
    rope = dict(config.pop("rope_parameters"))
    config["rope_theta"] = rope.pop("rope_theta")
    scaled = rope["rope_type"] != "default"
    config["rope_scaling"] = {renames.get(key, key): value for key, value in rope.items()} if scaled else None
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.46.0"
    return config


def write_model(case: Case, folder: Path, generator: torch.Generator) -> PreTrainedModel:
    config = AutoConfig.for_model(case.model_type, **case.shape)
    model = getattr(transformers, case.base_class).from_config(config, attn_implementation="eager").eval()
    randomize(model, generator)
    model.to(case.checkpoint_dtype).save_pretrained(folder, max_shard_size=case.shard_size or "1GB")
    (folder / "generation_config.json").unlink(missing_ok=True)
    written = json.loads((folder / "config.json").read_text())
    if case.dialect == "v4":
        written = to_v4(written, case.v4_rope_scaling)
    write_json(folder / "config.json", written | case.config_changes)
    return model.to(torch.float32)


@torch.no_grad()
def randomize_adapter(adapted: torch.nn.Module, generator: torch.Generator) -> None:
    """B is not zero, copies of base weights differ from the base, and no magnitude is the norm from which it is initialised."""
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad and "lora_magnitude_vector" not in name:
            noise = torch.randn(parameter.shape, generator=generator)
            if ".lora_" in name:
                parameter.copy_((0.3 if "lora_A" in name else 0.15) * noise)
            else:
                parameter.add_(0.1 * noise)
    for module in adapted.modules():
        if isinstance(module, LoraLayer) and "default" in module.lora_magnitude_vector:
            magnitude = module.lora_magnitude_vector["default"].weight
            adapted_weight = module.get_base_layer().weight + module.get_delta_weight("default")
            inputs_first = "default" in module.lora_embedding_A or module.fan_in_fan_out
            norm = adapted_weight.norm(dim=0 if inputs_first else 1)
            magnitude.copy_(norm * (1 + 0.2 * torch.randn(magnitude.shape, generator=generator)))


def write_adapter(case: Case, model: PreTrainedModel, folder: Path, generator: torch.Generator) -> None:
    """PEFT's own files, without the model card and with sorted sets."""
    if case.labels is not None:
        torch.manual_seed(case.seed)  # transformers initialises the head at random
        model = AutoModelForSequenceClassification.from_pretrained(
            folder.parent / "model", num_labels=case.labels.count, dtype=torch.float32).eval()  # fmt: skip
    model.name_or_path = str(folder.parent / "model")  # PEFT reads it to see whether the vocabulary was changed
    if is_bitfit(case.adapter):
        write_bitfit(model, folder, generator)
        return
    task = "CAUSAL_LM" if case.labels is None else "SEQ_CLS"
    adapted = get_peft_model(model, get_peft_config({"peft_type": "LORA", "task_type": task} | case.adapter))
    if adapted.active_peft_config.is_prompt_learning:
        from prompt_cases import randomize_prompt, save_encoder  # which imports this module

        randomize_prompt(adapted, generator)
    else:
        randomize_adapter(adapted, generator)
    adapted.save_pretrained(folder, save_embedding_layers=False)
    if adapted.active_peft_config.is_prompt_learning:
        save_encoder(adapted, folder)
    (folder / "README.md").unlink(missing_ok=True)
    written = json.loads((folder / "adapter_config.json").read_text())
    written["base_model_name_or_path"] = "model"
    for key in ("target_modules", "exclude_modules"):
        if isinstance(written.get(key), list):
            written[key] = sorted(written[key])
    write_json(folder / "adapter_config.json", written)


def make_row(draw: random.Random, vocab: int, length: int) -> dict:
    ids = [draw.randrange(vocab) for _ in range(length)]
    kind = draw.choice(["all", "completion", "holes"])
    if kind == "all":
        return {"input_ids": ids}
    prompt = draw.randrange(1, length - 1)
    if kind == "completion":
        labels = [-100] * prompt + ids[prompt:]
    else:
        labels = [-100 if draw.random() < 0.3 else token for token in ids]
        labels[-1] = ids[-1]  # at least one supervised token
    return {"input_ids": ids, "labels": labels}


def make_labelled_row(draw: random.Random, vocab: int, length: int, labels: Labels) -> dict:
    row = {"input_ids": [draw.randrange(vocab) for _ in range(length)]}
    if labels.pairs and draw.random() < 0.7:
        first = draw.randrange(1, length)
        row["token_type_ids"] = [0] * first + [1] * (length - first)
    if labels.count == 1:
        return row | {"label": round(draw.uniform(-1, 3), 2)}
    label = draw.randrange(labels.count)
    return row | {"label": label if labels.names is None else labels.names[label]}


def write_rows(path: Path, draw: random.Random, vocab: int, lengths: list[int], labels: Labels | None = None) -> None:
    make = make_row if labels is None else lambda *row: make_labelled_row(*row, labels)
    rows = [json.dumps(make(draw, vocab, length), separators=(",", ":")) for length in lengths]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_data(case: Case, folder: Path) -> None:
    draw = random.Random(case.seed)
    lengths = [case.first_length, MIN_LENGTH, MAX_LENGTH]
    lengths += [draw.randint(MIN_LENGTH, MAX_LENGTH) for _ in range(case.num_rows - len(lengths))]
    write_rows(folder / "rows.jsonl", draw, case.shape["vocab_size"], lengths, case.labels)
    write_rows(folder / "eval.jsonl", draw, case.shape["vocab_size"], [7, 40, 3, 16, 17, 23, 11], case.labels)


def run_config(case: Case, folder: Path) -> dict:
    adapter = None
    if case.adapter is not None:
        adapter = {"peft_type": "LORA"} | case.adapter
        if case.paste_whole_config:
            adapter = json.loads((folder / "adapter" / "adapter_config.json").read_text())
        if not case.starts_itself:
            adapter |= {"init_from": "adapter"}
    format = "tokens" if case.labels is None else "classification"
    objective = {} if case.labels is None else {"objective": "sequence_classification"}
    return {
        "model": {"path": "model", "dtype": "float32", "device": "cpu"} | case.model,
        "adapter": adapter,
        "data": {"train": [{"path": "rows.jsonl", "format": format}], "eval": [{"path": "eval.jsonl", "format": format}],
                 "shuffle": False, "packing": False},
        "training": case.training | objective,
        "output_dir": "out",
    }  # fmt: skip


def write_inputs(case: Case, folder: Path) -> None:
    """Writes all inputs of lora-train; llama_golden.py writes the expected results."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(case.seed)
    model = write_model(case, folder / "model", generator)
    if case.adapter is not None and not case.starts_itself:
        write_adapter(case, model, folder / "adapter", generator)
    write_data(case, folder)
    (folder / "run.json").write_text(json.dumps(run_config(case, folder), indent=2) + "\n", encoding="utf-8")
