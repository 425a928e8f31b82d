"""Writes tests/data/combine_ia3: a second adapter of IA3 for tests/data/llama/ia3, and in expected.json the vectors of both combined by PEFT's
IA3Model.add_weighted_adapter with WEIGHTS.

    python combine_ia3.py
"""

import json
import shutil

import torch
from llama_golden import DATA as LLAMA
from llama_reference import be_quiet, load_base, one_thread
from merge import TESTS
from peft import IA3Config, PeftModel, get_peft_model

DATA = TESTS / "combine_ia3"
WEIGHTS = [0.7, -0.4]


def write_second() -> None:
    config = IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"])
    model = get_peft_model(load_base(LLAMA / "ia3" / "model"), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "ia3_l" in name:
                parameter.add_(torch.randn(parameter.shape) * 0.3)
    model.base_model.config.name_or_path = ""
    model.peft_config["default"].base_model_name_or_path = "model"
    model.save_pretrained(DATA / "second", save_embedding_layers=False)
    (DATA / "second" / "README.md").unlink()


def main() -> None:
    be_quiet()
    torch.manual_seed(3)
    shutil.rmtree(DATA, ignore_errors=True)
    with one_thread():
        write_second()
        model = PeftModel.from_pretrained(load_base(LLAMA / "ia3" / "model"), LLAMA / "ia3" / "adapter", adapter_name="first")
        model.load_adapter(DATA / "second", adapter_name="second")
        model.base_model.add_weighted_adapter(["first", "second"], WEIGHTS, "both")
    vectors = {name.removesuffix(".ia3_l.both").removeprefix("base_model.model."): parameter.flatten().tolist()
               for name, parameter in model.named_parameters() if name.endswith(".both")}  # fmt: skip
    text = json.dumps({"weights": WEIGHTS, "vectors": vectors}, separators=(",", ":"))
    (DATA / "expected.json").write_text(text + "\n", encoding="utf-8")
    print(f"{len(vectors)} modules")


if __name__ == "__main__":
    main()
