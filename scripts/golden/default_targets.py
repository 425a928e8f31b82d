"""Writes tests/data/peft_formulas/default_targets.json: the modules that PEFT adapts where a config names none, for the families of models
that this project has and the methods whose default differs from LoRA's."""

import json
from pathlib import Path

import peft
from peft.utils import constants

OUTPUT = Path(__file__).resolve().parents[2] / "tests" / "data" / "peft_formulas" / "default_targets.json"
FAMILIES = """apertus arcee bert camembert distilbert exaone4 falcon gemma gemma2 gemma3_text gpt2 gpt_neox granite helium hunyuan_v1_dense
internlm3 llama ministral ministral3 mistral mixtral modernbert nemotron olmo2 olmo3 phi phi3 qwen2 qwen3 qwen3_moe roberta seed_oss smollm3 stablelm starcoder2 xlm-roberta""".split()
MAPPINGS = {
    "ia3": constants.TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING,
    "ia3_feedforward": constants.TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING,
    "ln_tuning": constants.TRANSFORMERS_MODELS_TO_LNTUNING_TARGET_MODULES_MAPPING,
    "adalora": constants.TRANSFORMERS_MODELS_TO_ADALORA_TARGET_MODULES_MAPPING,
}


def main() -> None:
    defaults = {method: {family: mapping.get(family, []) for family in FAMILIES} for method, mapping in MAPPINGS.items()}
    OUTPUT.write_text(json.dumps({"peft": peft.__version__} | defaults, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
