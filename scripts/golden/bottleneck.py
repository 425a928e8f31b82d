"""Writes tests/data/bottleneck: bottleneck adapters as the adapters library trains them, on bases of the other goldens.

    PYTHONPATH=FOLDER python bottleneck.py [--case NAME]...     FOLDER: see requirements_adapters.txt
    PYTHONPATH=FOLDER python bottleneck.py --load ADAPTER CASE_FOLDER   loads an adapter that lora-train wrote

Each case has run.json, the start that the library saved (with the head of a classification), and the results of 20 steps.
"""

import argparse
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # every file is local: nothing may be looked up

import adapters
import llama_reference
import torch
import transformers
from llama_reference import (
    be_quiet, documents_of, evaluate, is_classification, logits_of, mean_loss, num_labels, one_thread, read_json, train,
)  # fmt: skip
from safetensors.torch import save_file
from small_adapters import write_json
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

DATA = Path(__file__).resolve().parents[2] / "tests" / "data"
PREFIX = "base_model.model."  # of the names in expected.safetensors, as in the other goldens
llama_reference.parameter_key = lambda name: PREFIX + name


@dataclass
class Case:
    seed: int
    base: str  # folder of another case, whose model and rows are used
    config: dict  # our section: "config" and the keys that differ from it
    max_grad_norm: float
    use_safetensors: bool = True  # false: the library's default, a file of torch.save
    name: str = "default"  # of the adapter


CASES = {
    "seq_llama": Case(1, "llama/tied", {"config": "seq_bn", "reduction_factor": 8}, 2.0),
    "double_llama": Case(2, "llama/tied", {"config": "double_seq_bn", "reduction_factor": {"0": 4, "default": 2.5}}, 1.0, name="task_one"),
    "parallel_llama": Case(3, "llama/tied", {"config": "par_bn", "scaling": "learned", "mh_adapter": True}, 1.0),
    # every part of a bottleneck's own; safetensors' own writer refuses its shared tensors
    "norms_llama": Case(4, "llama/tied", {"config": "seq_bn", "mh_adapter": True, "ln_before": True, "ln_after": True,
                                          "residual_before_ln": False, "non_linearity": "gelu", "reduction_factor": 4}, 1.0,
                        use_safetensors=False),
    "double_gpt2": Case(5, "families/gpt2", {"config": "double_seq_bn", "leave_out": [0], "non_linearity": "leakyrelu"}, 0.2),
    "seq_bert": Case(6, "classification/bert_pairs", {"config": "seq_bn", "reduction_factor": 6}, 1.0),
    "double_bert": Case(7, "classification/bert_values", {"config": "double_seq_bn", "adapter_residual_before_ln": True, "ln_after": True},
                        1.0, use_safetensors=False),
    # AdapterPlus: the sum and its norm come before, and nothing after
    "plus_bert": Case(8, "classification/bert_pairs", {"config": "seq_bn", "original_ln_after": False, "residual_before_ln": False,
                                                       "scaling": "channel", "non_linearity": "gelu_new"}, 0.5),
    "post_add_roberta": Case(9, "classification/roberta_classes", {"config": "seq_bn", "residual_before_ln": "post_add",
                                                                   "mh_adapter": True}, 0.5),
    "parallel_distilbert": Case(10, "classification/distilbert_classes", {"config": "par_bn", "mh_adapter": True}, 0.5),
}  # fmt: skip


def base_of(folder: Path, run: dict) -> torch.nn.Module:
    path = folder / run["model"]["path"]
    if not is_classification(run):
        return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    return AutoModelForSequenceClassification.from_pretrained(
        path, num_labels=num_labels(folder, run), dtype=torch.float32, attn_implementation="eager").eval()  # fmt: skip


def library_config(section: dict):
    changes = {key: value for key, value in section.items() if key not in ("peft_type", "config", "init_from")}
    return adapters.AdapterConfig.load(section["config"], **changes)


def with_adapter(case: Case, folder: Path, run: dict) -> torch.nn.Module:
    """The base with an adapter and a head of random values, none of them zero."""
    model = base_of(folder, run)
    adapters.init(model)
    model.add_adapter(case.name, config=library_config(run["adapter"] | case.config))
    model.train_adapter(case.name)
    generator = torch.Generator().manual_seed(case.seed)
    classifies = is_classification(run)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not classifies and ".adapters." not in name:
                parameter.requires_grad_(False)  # the library leaves the head of a language model trainable
            if parameter.requires_grad:
                values = 0.2 * torch.randn(parameter.shape, generator=generator)
                parameter.copy_(values + 1 if "norm" in name and name.endswith("weight") or "scaling" in name else values)
    return model.eval()


def renamed(tensors: dict, case: Case) -> dict:
    """Under the one name that lora-train has for an adapter."""
    return {key.replace(f".adapters.{case.name}.", ".adapters.default."): value for key, value in tensors.items()}


def write_case(name: str, case: Case) -> None:
    folder = DATA / "bottleneck" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run = read_json(DATA / case.base / "run.json")
    base = f"../../{case.base}/"
    run["model"]["path"] = base + "model"
    for part in ("train", "eval"):
        for source in run["data"][part]:
            source["path"] = base + source["path"]
    run["adapter"] = {"peft_type": "BOTTLENECK", "init_from": "adapter"}
    run["training"]["max_grad_norm"] = case.max_grad_norm
    write_json(folder / "run.json", run)

    rows, held_out = documents_of(folder, run, "train"), documents_of(folder, run, "eval")
    base_documents = [] if is_classification(run) else evaluate(base_of(folder, run), held_out)
    model = with_adapter(case, folder, run)
    model.save_adapter(folder / "adapter", case.name, use_safetensors=case.use_safetensors)
    for file in (folder / "adapter").glob("*config.json"):  # the base's folder without the path of this machine
        file.write_text(file.read_text(encoding="utf-8").replace(f"{folder}/", ""), encoding="utf-8")
    if not is_classification(run):
        for file in (folder / "adapter").glob("*head*"):
            file.unlink()
    with torch.no_grad():
        output = logits_of(model, rows[0], output_hidden_states=True)
    tensors = {f"adapted.hidden.{len(output.hidden_states) - 1}": output.hidden_states[-1][0], "adapted.logits": output.logits[0]}
    start_documents = evaluate(model, held_out)
    result = train(model, run, rows, held_out)
    documents = evaluate(model, held_out)
    tensors |= {f"grad.{key}": value for key, value in result.first_gradients.items()}
    tensors |= {f"trained.{PREFIX}{key}": p.detach() for key, p in model.named_parameters() if p.requires_grad}
    expected = {
        "num_trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "steps": result.steps, "eval": result.evals, "eval_loss": mean_loss(documents), "documents": documents,
        "start_documents": start_documents} | ({"base_documents": base_documents} if base_documents else {})  # fmt: skip
    if not any(step["grad_norm"] > case.max_grad_norm for step in result.steps):
        raise RuntimeError(f"{name}: no step is clipped; choose a smaller max_grad_norm")
    write_json(folder / "expected.json", expected)
    save_file({key: value.contiguous().clone() for key, value in renamed(tensors, case).items()}, folder / "expected.safetensors")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    norms = [step["grad_norm"] for step in result.steps]
    print(f"{name:20} loss {result.steps[0]['loss']:.4f} -> {result.steps[-1]['loss']:.4f}, grad_norm {min(norms):.3f}..{max(norms):.3f}, "
          f"{size >> 10} KiB")  # fmt: skip


def load(folder: Path, run_folder: Path) -> None:
    """Loads an adapter that lora-train wrote on the base of a case, and prints the loss of its held-out rows."""
    run = read_json(run_folder / "run.json")
    model = base_of(run_folder, run)
    adapters.init(model)
    info = {}
    name = model.load_adapter(str(folder), loading_info=info, use_safetensors=True, set_active=True)
    model.eval()
    losses = evaluate(model, documents_of(run_folder, run, "eval"))
    print(json.dumps({"name": name, "missing": info.get("missing_keys"), "unexpected": info.get("unexpected_keys"),
                      "eval_loss": mean_loss(losses)}))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=list(CASES), help="only this case (repeatable)")
    parser.add_argument("--load", nargs=2, type=Path, metavar=("ADAPTER", "CASE_FOLDER"), help="load a folder that lora-train wrote")
    options = parser.parse_args()
    be_quiet()
    with one_thread():
        if options.load:
            load(*options.load)
            return
        for name in options.case or CASES:
            write_case(name, CASES[name])
    versions = {module.__name__: module.__version__ for module in (torch, transformers, adapters)}
    write_json(DATA / "bottleneck" / "VERSIONS.json", versions)


if __name__ == "__main__":
    main()
