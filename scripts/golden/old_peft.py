"""Writes tests/data/old_peft/VERSION: adapters that the running interpreter's PEFT writes, and the loss that it computes with each.

    OLD_VENV/bin/python scripts/golden/old_peft.py      # once for each version of KEPT, with a transformers of its time
    OLD_VENV/bin/python scripts/golden/old_peft.py --output DIR --all     # every case that this version of PEFT can write
    OLD_VENV/bin/python scripts/golden/old_peft.py --output DIR --case NAME

Runs with PEFT 0.3 to 0.20, so it may import only what each of them has. expected.json: the versions; for each case its base (a folder
next to the versions, made by the first of them), its folder, and the loss after the same PEFT has read that folder back. A case that
this PEFT cannot write, or does not read back, is left out with a line. Where saving lost something (the loss was another), a line says so.
"""

import argparse
import dataclasses
import os
import shutil
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # every file is local: nothing may be looked up
warnings.filterwarnings("ignore")

import peft
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from small_adapters import DATA, VOCABULARY, add_noise, mean_loss, tidy, write_json
from transformers import AutoConfig, AutoModelForCausalLM

VERSION = tuple(int(part) for part in peft.__version__.split(".")[:2])
OLD_VOCABULARY = VOCABULARY - 2
ALWAYS = (0, 0)

# As published models of these families have them: keys of transformers 4 alone.
BASES = {
    "llama": {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": VOCABULARY, "hidden_size": 16,
        "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": False,
        "torch_dtype": "float32", "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
    },
    "gpt2": {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": VOCABULARY, "n_embd": 16, "n_head": 2, "n_layer": 2,
        "n_positions": 64, "n_inner": 24, "torch_dtype": "float32", "bos_token_id": 1, "eos_token_id": 2,
    },
}  # fmt: skip

TARGETS = ["q_proj", "v_proj"]
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ON_GPT2 = {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}


@dataclasses.dataclass
class Case:
    options: dict  # of LoraConfig
    since: tuple = ALWAYS  # the first PEFT with these values; new keys of LoraConfig are found without it
    base: str = "llama"
    save: dict = dataclasses.field(default_factory=dict)  # arguments of save_pretrained
    adapter: str = "default"
    resized: bool = False  # resize_token_embeddings before training
    converted: bool = False  # the start that changed the base becomes a part of the adapter


CASES = {
    "plain": Case({"target_modules": TARGETS}),
    "default_targets": Case({}),
    "bin": Case({"target_modules": TARGETS}, since=(0, 4), save={"safe_serialization": False}),
    "safetensors": Case({"target_modules": TARGETS}, since=(0, 4), save={"safe_serialization": True}),
    "list": Case({"target_modules": LINEAR}),
    "all_linear": Case({"target_modules": "all-linear"}, since=(0, 8)),
    "regex": Case({"target_modules": r".*layers\.[01]\.(self_attn|mlp)\.(q|down)_proj"}),
    "saved": Case({"target_modules": TARGETS, "modules_to_save": ["embed_tokens", "lm_head"]}),
    "saved_mlp": Case({"target_modules": TARGETS, "modules_to_save": ["mlp"]}),
    "layers": Case({"target_modules": LINEAR, "layers_to_transform": [1]}),
    "layers_pattern": Case({"target_modules": TARGETS, "layers_to_transform": 1, "layers_pattern": "layers"}),
    "patterns": Case({
        "target_modules": LINEAR, "rank_pattern": {"q_proj": 3, "layers.1.mlp.down_proj": 1}, "alpha_pattern": {"v_proj": 5},
    }),
    "pattern_anchors": Case({
        "target_modules": TARGETS, "rank_pattern": {"^model.layers.0.self_attn.q_proj": 3}, "alpha_pattern": {".*1.*v_proj": 7},
    }),
    "pattern_either": Case({"target_modules": LINEAR, "rank_pattern": {"q_proj|v_proj": 3}, "alpha_pattern": {"k_proj|up_proj": 7}}),
    "patterns_overlap": Case({
        "target_modules": LINEAR, "rank_pattern": {"layers.0.self_attn.q_proj": 3, "v_proj": 1},
        "alpha_pattern": {"q_proj": 7, "0.self_attn.v_proj": 5},
    }),
    "pattern_names": Case({
        "target_modules": TARGETS, "rank_pattern": {"model.layers.0.self_attn.q_proj": 3, "q_proj": 4},
        "alpha_pattern": {"model.layers.0.self_attn.v_proj": 7},
    }),
    "suffixes": Case({"target_modules": ["_proj"], "modules_to_save": ["head"]}),
    "expressions": Case({"target_modules": ["(q|v)_proj", "mlp.(up|down)_proj"]}),
    "generic": Case({"target_modules": TARGETS + ["query_key_value", "W_pack"], "modules_to_save": ["lm_head", "classifier"]}),
    "rslora": Case({"target_modules": TARGETS, "use_rslora": True}),
    "dora": Case({"target_modules": LINEAR, "use_dora": True}),
    "dora_embeddings": Case({"target_modules": ["embed_tokens", "v_proj"], "use_dora": True}, since=(0, 13)),
    "embeddings": Case({"target_modules": ["q_proj", "embed_tokens", "lm_head"]}),
    "embeddings_saved": Case({"target_modules": ["q_proj", "embed_tokens"]}, since=(0, 7), save={"save_embedding_layers": True}),
    "resized": Case({"target_modules": TARGETS}, since=(0, 8), resized=True),
    "resized_saved": Case({"target_modules": TARGETS, "modules_to_save": ["embed_tokens", "lm_head"]}, since=(0, 8), resized=True),
    "pissa": Case({"target_modules": TARGETS, "init_lora_weights": "pissa"}, since=(0, 11)),
    "pissa_converted": Case({"target_modules": TARGETS, "init_lora_weights": "pissa"}, since=(0, 11), converted=True),
    "olora": Case({"target_modules": TARGETS, "init_lora_weights": "olora"}, since=(0, 12)),
    "olora_converted": Case({"target_modules": TARGETS, "init_lora_weights": "olora"}, since=(0, 13), converted=True),
    "gaussian": Case({"target_modules": TARGETS, "init_lora_weights": "gaussian"}, since=(0, 6)),
    "gpt2_lora_bias": Case(ON_GPT2 | {"lora_bias": True}, base="gpt2"),
    "exclude": Case({"target_modules": "all-linear", "exclude_modules": ["gate_proj"]}),
    "tokens": Case({"target_modules": TARGETS, "trainable_token_indices": [3, 38]}),
    "tokens_of_two": Case({"target_modules": TARGETS, "trainable_token_indices": {"embed_tokens": [3], "lm_head": [4]}}),
    "named": Case({"target_modules": TARGETS, "modules_to_save": ["lm_head"]}, since=(0, 4), adapter="mine"),
    "gpt2": Case(ON_GPT2, base="gpt2"),
    "gpt2_suffixes": Case({"target_modules": ["proj", "c_attn"], "fan_in_fan_out": True}, base="gpt2"),
    "gpt2_default": Case({}, base="gpt2"),
    "gpt2_all_linear": Case({"target_modules": "all-linear"}, since=(0, 8), base="gpt2"),
    "gpt2_dora": Case(ON_GPT2 | {"use_dora": True}, base="gpt2"),
    "gpt2_pissa": Case(ON_GPT2 | {"init_lora_weights": "pissa"}, since=(0, 11), base="gpt2"),
    "gpt2_bias_lora_only": Case(ON_GPT2 | {"bias": "lora_only"}, base="gpt2"),
    "gpt2_bias_all": Case(ON_GPT2 | {"bias": "all"}, base="gpt2"),
    "gpt2_saved_head": Case(ON_GPT2 | {"modules_to_save": ["lm_head"]}, base="gpt2"),
    "gpt2_saved_embedding": Case(ON_GPT2 | {"modules_to_save": ["wte"]}, base="gpt2"),
    "gpt2_saved_norm": Case(ON_GPT2 | {"modules_to_save": ["ln_f"]}, base="gpt2"),
    "gpt2_embedding": Case({"target_modules": ["c_attn", "wte"], "fan_in_fan_out": True}, base="gpt2"),
    "gpt2_head": Case({"target_modules": ["c_attn", "lm_head"]}, base="gpt2"),
    "gpt2_tokens": Case(ON_GPT2 | {"trainable_token_indices": [3, 38]}, base="gpt2"),
    "gpt2_resized": Case(ON_GPT2, since=(0, 8), base="gpt2", resized=True),
}  # fmt: skip

# What the repository has of each version: what came with it, what its rules were other for, and the kinds that everyone writes.
KEPT = {
    "0.3.0": ["plain", "saved", "embeddings", "suffixes", "gpt2_bias_lora_only"],
    "0.4.0": ["safetensors", "layers_pattern", "named", "gpt2_suffixes"],
    "0.5.0": ["bin", "expressions"],
    "0.6.2": ["pattern_either", "patterns_overlap", "layers"],
    "0.8.2": ["plain", "all_linear", "rslora", "gpt2_bias_lora_only"],
    "0.10.0": ["bin", "dora", "pattern_names", "pattern_anchors", "generic"],
    "0.12.0": ["pissa", "pissa_converted", "olora", "resized", "gpt2_resized"],
    "0.14.0": ["gpt2_lora_bias", "exclude", "pattern_either", "patterns_overlap", "olora_converted"],
    "0.15.2": ["tokens", "tokens_of_two", "pattern_either", "pattern_anchors", "pattern_names"],
    "0.17.1": ["gpt2_dora", "gpt2_tokens"],
    "0.18.1": ["plain", "gpt2_saved_embedding"],
    "0.20.0": ["generic", "dora_embeddings"],
}  # fmt: skip


def write_base(folder: Path, config: dict) -> None:
    folder.mkdir(parents=True)
    write_json(folder / "config.json", config)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    add_noise(model, 1, only_trained=False)
    save_file({name: p.data.contiguous() for name, p in model.named_parameters()}, folder / "model.safetensors", {"format": "pt"})


def write_before(base: Path, folder: Path, config: dict) -> None:
    """The base with the vocabulary that it had before it was resized."""
    folder.mkdir()
    write_json(folder / "config.json", config | {"vocab_size": OLD_VOCABULARY})
    cut = {k: v[:OLD_VOCABULARY].clone() if len(v) == VOCABULARY else v for k, v in load_file(base / "model.safetensors").items()}
    save_file(cut, folder / "model.safetensors", {"format": "pt"})


def load_base(folder: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(str(folder), torch_dtype=torch.float32).eval()


def adapted_model(case: Case, base: Path, before: Path) -> PeftModel:
    model = load_base(before if case.resized else base)
    if case.resized:
        torch.manual_seed(4)
        model.resize_token_embeddings(VOCABULARY)
    torch.manual_seed(5)
    config = LoraConfig(task_type="CAUSAL_LM", r=2, lora_alpha=3, lora_dropout=0.0, **case.options)
    return get_peft_model(model, config, adapter_name=case.adapter) if case.adapter != "default" else get_peft_model(model, config)


def save(case: Case, model: PeftModel, start: Path, folder: Path) -> None:
    """@param start: where the adapter lies as it was before training."""
    arguments = dict(case.save)
    if case.converted:
        key = "path_initial_model_for_weight_conversion" if VERSION >= (0, 12) else "convert_pissa_to_lora"
        arguments[key] = str(start)
    model.save_pretrained(str(folder), **arguments)


def write_case(case: Case, output: Path, folder: Path) -> dict:
    base, before, start = output / case.base, output / "before", output / "start"
    if case.resized:
        write_before(base, before, BASES[case.base])
    model = adapted_model(case, base, before)
    model.eval()
    if case.converted:
        config = model.peft_config["default"]
        config.init_lora_weights = True
        model.save_pretrained(str(start))
        config.init_lora_weights = case.options["init_lora_weights"]
    add_noise(model, 11, only_trained=True)
    trained = mean_loss(model)
    save(case, model, start, folder)
    written = folder if case.adapter == "default" else folder / case.adapter
    reread = PeftModel.from_pretrained(load_base(base), str(written)).eval()
    loss = mean_loss(reread)
    if abs(loss - trained) > 1e-6:
        print(f"{peft.__version__} {folder.name}: the loss is {trained:.6f} before it was saved, {loss:.6f} read back")
    tidy(written)
    return {"base": case.base, "loss": loss, "folder": str(written.relative_to(folder.parent))}


def write_expected(folder: Path, cases: dict, *modules) -> None:
    write_json(folder / "expected.json", {"cases": cases, "versions": {module.__name__: module.__version__ for module in modules}})


def is_of_this_version(case: Case) -> bool:
    keys = {field.name for field in dataclasses.fields(LoraConfig)}
    return VERSION >= case.since and set(case.options) <= keys


def write_cases(output: Path, names: list) -> dict:
    expected = {}
    for name in names:
        case = CASES[name]
        if not is_of_this_version(case):
            continue
        folder = output / peft.__version__ / name
        try:
            expected[name] = write_case(case, output, folder)
        except Exception as error:
            print(f"{peft.__version__} {name}: left out, {type(error).__name__}: {str(error)[:200]}")
            shutil.rmtree(folder, ignore_errors=True)
        for scratch in ("before", "start"):
            shutil.rmtree(output / scratch, ignore_errors=True)
    return expected


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, default=DATA / "old_peft")
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--all", action="store_true")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    for name, config in BASES.items():
        if not (arguments.output / name).exists():
            write_base(arguments.output / name, config)
    folder = arguments.output / peft.__version__
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names = [arguments.case] if arguments.case else list(CASES) if arguments.all else KEPT[peft.__version__]
    write_expected(folder, write_cases(arguments.output, names), peft, torch, transformers)


if __name__ == "__main__":
    main()
