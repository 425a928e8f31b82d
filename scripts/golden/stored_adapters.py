"""Writes tests/data/adapters: adapter folders as PEFT and the tools on top of it write them, and what PEFT computes with each.

PEFT 0.21.2 writes and reads the first half. The other half are the same tensors under the keys, in the dtypes and in the file formats
of older versions and of other tools, which PEFT 0.21.2 reads in part: what is expected of them is what it computes with the original.
cases.json: for each folder its base, the mean loss over the supervised tokens of rows.jsonl, and the loss and tie_word_embeddings of
merge_and_unload.
"""

import copy
import json
import shutil
from collections import OrderedDict

import peft
import torch
import transformers
from llama_reference import be_quiet, one_thread
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from small_adapters import ROWS, VOCABULARY, add_noise, mean_loss, tidy, write_json
from transformers import AutoModelForCausalLM, LlamaConfig

DATA = ROWS.parent
OLD_VOCABULARY = VOCABULARY - 2
TARGETS = ["q_proj", "v_proj"]


def llama_config(tied: bool, vocab_size: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocab_size, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=64, attention_bias=True, tie_word_embeddings=tied, dtype="float32",
        bos_token_id=None, eos_token_id=None, pad_token_id=None,
    )  # fmt: skip


def write_bases() -> None:
    """Each with the vocabulary that adapters were trained with; `<name>_before` is what it was resized from."""
    for name, tied in (("untied", False), ("tied", True)):
        model = transformers.LlamaForCausalLM(llama_config(tied, OLD_VOCABULARY))
        add_noise(model, 1 + tied, only_trained=False)
        model.save_pretrained(DATA / f"{name}_before")
        torch.manual_seed(3)
        model.resize_token_embeddings(VOCABULARY)
        model.save_pretrained(DATA / name)
        for folder in (name, f"{name}_before"):
            (DATA / folder / "generation_config.json").unlink()


def write_rows() -> None:
    generator = torch.Generator().manual_seed(5)
    rows = [torch.randint(0, VOCABULARY, (n,), generator=generator).tolist() for n in (12, 7, 19)]
    ROWS.write_text("".join(json.dumps({"input_ids": row}) + "\n" for row in rows))


def load_base(name: str) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(DATA / name)


# name: base, resized in training (PEFT then saves embeddings and head), LoraConfig
PEFT_CASES = {
    "plain": ("untied", False, dict(target_modules=TARGETS)),
    "resized": ("untied", True, dict(target_modules=TARGETS)),
    "resized_tokens": ("untied", True, dict(target_modules=TARGETS, trainable_token_indices=[38, 39])),
    "resized_saved": ("untied", True, dict(target_modules=TARGETS, modules_to_save=["embed_tokens", "lm_head"])),
    "resized_tied": ("tied", True, dict(target_modules=TARGETS)),
    "resized_tied_tokens": ("tied", True, dict(target_modules=TARGETS, trainable_token_indices=[38, 39])),
    "resized_tied_saved": ("tied", True, dict(target_modules=TARGETS, modules_to_save=["embed_tokens"])),
    "embeddings": ("untied", False, dict(target_modules=["q_proj", "embed_tokens", "lm_head"])),
    "saved_tied": ("tied", False, dict(target_modules=TARGETS, modules_to_save=["embed_tokens"], ensure_weight_tying=True)),
    "saved_tied_head": ("tied", False, dict(target_modules=TARGETS, modules_to_save=["lm_head"], ensure_weight_tying=True)),
    "saved_untying": ("tied", False, dict(target_modules=TARGETS, modules_to_save=["embed_tokens"])),
    "saved_untying_head": ("tied", False, dict(target_modules=TARGETS, modules_to_save=["lm_head"])),
    "dora": ("untied", False, dict(target_modules=TARGETS, use_dora=True)),
    "lora_bias": ("untied", False, dict(target_modules=TARGETS, lora_bias=True)),
    "bias_lora_only": ("untied", False, dict(target_modules=TARGETS, bias="lora_only")),
    "bias_all": ("untied", False, dict(target_modules=TARGETS, bias="all")),
    "pissa": ("untied", False, dict(target_modules=TARGETS, init_lora_weights="pissa")),
    "pissa_dora": ("untied", False, dict(target_modules=TARGETS, init_lora_weights="pissa", use_dora=True)),
    "olora": ("untied", False, dict(target_modules=TARGETS, init_lora_weights="olora", rank_pattern={"q_proj": 3})),
    "mica": ("untied", False, dict(target_modules=TARGETS, init_lora_weights="mica")),
}  # fmt: skip


def write_peft_case(name: str, base: str, resized: bool, options: dict) -> None:
    model = load_base(f"{base}_before" if resized else base)
    if resized:
        torch.manual_seed(4)
        model.resize_token_embeddings(VOCABULARY)
    model.name_or_path = str(DATA / (f"{base}_before" if resized else base))
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=2, lora_alpha=3, **options))
    converts = str(options.get("init_lora_weights")) in ("pissa", "olora")
    start = DATA / "start"
    if converts:
        adapted.peft_config["default"].init_lora_weights = True
        adapted.save_pretrained(start)
        adapted.peft_config["default"].init_lora_weights = options["init_lora_weights"]
    add_noise(adapted, 11, only_trained=True)
    adapted.save_pretrained(DATA / name)
    tidy(DATA / name)
    if converts and not options.get("use_dora"):
        adapted.save_pretrained(DATA / f"{name}_converted", path_initial_model_for_weight_conversion=str(start))
        tidy(DATA / f"{name}_converted")
    shutil.rmtree(start, ignore_errors=True)


def expected_of(name: str, base: str) -> dict:
    model = PeftModel.from_pretrained(load_base(base), DATA / name)
    loss = mean_loss(model)
    merged = model.merge_and_unload()
    return {"base": base, "loss": loss, "merged_loss": mean_loss(merged), "merged_tie": merged.config.tie_word_embeddings}


class Variant:
    """Another way to write an adapter of PEFT 0.21.2."""

    def __init__(self, original: str, name: str):
        self.folder = DATA / name
        shutil.copytree(DATA / original, self.folder)
        self.tensors = load_file(self.folder / "adapter_model.safetensors")
        self.config = json.loads((self.folder / "adapter_config.json").read_text())

    def rename(self, change) -> None:
        self.tensors = {change(key): value for key, value in self.tensors.items()}

    def replace(self, old: str, new: str) -> None:
        self.rename(lambda key: key.replace(old, new))

    def write(self, pickle: bool = False) -> None:
        write_json(self.folder / "adapter_config.json", self.config)
        (self.folder / "adapter_model.safetensors").unlink()
        if pickle:
            torch.save(self.tensors, self.folder / "adapter_model.bin")
        else:
            save_file(self.tensors, self.folder / "adapter_model.safetensors", {"format": "pt"})


# The keys that PEFT's LoraConfig had; later versions add to them (scripts/golden/peft_keys.py).
KEYS_OF_0_3 = ["base_model_name_or_path", "bias", "fan_in_fan_out", "inference_mode", "init_lora_weights", "lora_alpha", "lora_dropout",
               "modules_to_save", "peft_type", "r", "target_modules", "task_type"]  # fmt: skip


def named(key: str, adapter: str) -> str:
    """The key as the model's own state_dict has it."""
    for part in ("lora_A", "lora_B"):
        key = key.replace(f".{part}.", f".{part}.{adapter}.")
    if key.endswith("lora_magnitude_vector"):
        key += f".{adapter}.weight"
    return key


def write_variants() -> dict[str, str]:
    """Folder → the case whose numbers it has."""
    made = {}

    def variant(original: str, name: str) -> Variant:
        made[name] = original
        return Variant(original, name)

    v = variant("plain", "peft_0_1")  # such as tloen/alpaca-lora-7b
    v.config = {k: v.config[k] for k in KEYS_OF_0_3 if k != "init_lora_weights"} | {"enable_lora": None, "merge_weights": False}
    v.write(pickle=True)
    v = variant("bias_lora_only", "peft_0_3")
    v.config = {k: v.config[k] for k in KEYS_OF_0_3}
    v.replace(".base_layer.bias", ".bias")
    v.write(pickle=True)
    v = variant("plain", "newer_keys")
    v.config |= {"a_key_of_tomorrow": {}, "another": [], "a_number": 0, "a_name": ""}
    v.write()
    v = variant("saved_untying", "state_dict")
    v.rename(lambda key: named(key, "default").replace("embed_tokens.", "embed_tokens.modules_to_save.default."))
    v.tensors["base_model.model.model.embed_tokens.original_module.weight"] = torch.randn(VOCABULARY, 16)
    v.write()
    v = variant("dora", "named")
    v.rename(lambda key: named(key, "my_adapter"))
    v.write()
    v = variant("dora", "magnitude_weight")
    v.replace("lora_magnitude_vector", "lora_magnitude_vector.weight")
    v.write()
    v = variant("plain", "doubled_prefix")
    v.replace("base_model.model.", "base_model.model.base_model.model.")
    v.write()
    v = variant("plain", "no_prefix")
    v.replace("base_model.model.", "")
    v.write()
    v = variant("plain", "wrapped")  # DistributedDataParallel, FSDP, torch.compile
    v.rename(lambda key: "module." + key.replace(".layers.0.", ".layers.0._fsdp_wrapped_module.").replace(".self_attn.", "._orig_mod.self_attn."))
    v.write()
    v = variant("plain", "body")  # of AutoModel: the body without a head
    v.replace("base_model.model.model.", "base_model.model.")
    v.write()
    v = variant("resized", "within_another")  # of a model of text and images around this one
    v.replace("base_model.model.model.", "base_model.model.model.language_model.")
    v.write()
    v = variant("plain", "dtypes")
    dtypes = [torch.float64, torch.float16, torch.bfloat16]
    originals = Variant("plain", "dtypes_reference")
    for i, key in enumerate(sorted(v.tensors)):
        v.tensors[key] = v.tensors[key].to(dtypes[i % 3])
        originals.tensors[key] = v.tensors[key].float()
    v.write()
    originals.write()
    made["dtypes"] = "dtypes_reference"
    v = variant("bias_lora_only", "lost_biases")  # PEFT 0.6 to 0.20
    v.tensors = {key: value for key, value in v.tensors.items() if not key.endswith(".bias")}
    v.write()
    made["lost_biases"] = ""
    v = variant("plain", "missing_layer")
    v.tensors = {key: value for key, value in v.tensors.items() if ".layers.1." not in key}
    v.write()
    made["missing_layer"] = ""
    v = variant("plain", "views")  # tensors that share one storage, some of them transposed
    keys = sorted(key for key in v.tensors if "lora_A" in key)
    storage = torch.stack([v.tensors[key].t() for key in keys])
    v.tensors = OrderedDict(v.tensors | {key: storage[i].t() for i, key in enumerate(keys)})
    v.tensors._metadata = OrderedDict(version=1)
    v.tensors[keys[0]] = torch.nn.Parameter(v.tensors[keys[0]])
    v.write(pickle=True)
    return made


class Code:
    def __reduce__(self):
        return (print, ("run",))


def write_pickles() -> None:
    """Files that are an error."""
    folder = DATA / "pickles"
    folder.mkdir()
    tensors = {"base_model.model.x.lora_A.weight": torch.arange(6.0).view(2, 3)}
    torch.save(tensors, folder / "before_1_6.bin", _use_new_zipfile_serialization=False)
    torch.save(tensors | {"y": Code()}, folder / "code.bin")
    torch.save(list(tensors.values()), folder / "list.bin")
    torch.save({"state_dict": tensors}, folder / "nested.bin")
    torch.save({"x": torch.zeros(3).to_sparse()}, folder / "sparse.bin")
    torch.save({"x": torch.zeros(1).expand(1 << 40)}, folder / "expanded.bin")


def main() -> None:
    be_quiet()
    shutil.rmtree(DATA, ignore_errors=True)
    DATA.mkdir(parents=True)
    expected = {}
    with one_thread():
        write_bases()
        write_rows()
        for name, (base, resized, options) in PEFT_CASES.items():
            write_peft_case(name, base, resized, copy.deepcopy(options))
            for made in (name, f"{name}_converted"):
                if (DATA / made).exists():
                    expected[made] = expected_of(made, base)
        for made, original in write_variants().items():
            expected.setdefault(original, expected_of(original or made, PEFT_CASES.get(original, ("untied",))[0]))
            expected[made] = expected.pop("") if original == "" else expected[original]
        write_pickles()
    for name in ("untied_before", "tied_before"):
        shutil.rmtree(DATA / name)
    write_json(DATA / "cases.json", dict(sorted(expected.items())))
    write_json(DATA / "VERSIONS.json", {m.__name__: m.__version__ for m in (peft, torch, transformers)})


if __name__ == "__main__":
    main()
