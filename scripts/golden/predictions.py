#!/usr/bin/env python3
"""Writes tests/data/classification/predictions.json: predictions of classifiers and regressions, by transformers + PEFT and by the
TorchScript modules themselves.

    python scripts/golden/predictions.py

For each listed case of tests/data/classification, with its initial adapter, on its eval.jsonl: softmax of the logits in float32
under the labels' names, or the value. The same for each listed module of tests/data/torchscript, without an adapter.
"""

import json
from pathlib import Path

import peft
import torch
import transformers
from llama_reference import be_quiet, documents_of, label_names, load_trainable, logits_of, num_labels, one_thread, read_json

DATA = Path(__file__).resolve().parents[2] / "tests" / "data"
CASES = ["qwen2_names", "bert_pairs", "gpt2_values", "bert_values", "modernbert_mean"]
MODULES = [("perceptron", "features_eval.jsonl", False), ("perceptron_two", "pairs_eval.jsonl", False), ("vision", "images_eval.jsonl", True)]


def prediction(logits: torch.Tensor, names: list[str] | None) -> dict:
    values = logits.float().flatten()
    if names is None:
        return {"prediction": values.tolist() if len(values) > 1 else values.item()}
    shares = values.double().softmax(0)
    return {"label": names[int(values.argmax())], "probabilities": dict(zip(names, shares.tolist(), strict=True))}


def names_of(folder: Path, run: dict) -> list[str] | None:
    documents = documents_of(folder, run, "train")
    first = [json.loads(line) for line in (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()][0]
    if isinstance(first["label"], str):
        return label_names(folder, run)
    count = num_labels(folder, run)
    return None if count == 1 else [f"LABEL_{i}" for i in range(count)] if documents else None


def run_case(name: str) -> list[dict]:
    folder = DATA / "classification" / name
    run = read_json(folder / "run.json")
    model = load_trainable(folder, run).eval()
    with torch.no_grad():
        return [prediction(logits_of(model, document).logits, names_of(folder, run)) for document in documents_of(folder, run, "eval")]


def run_module(name: str, rows: str, is_classifier: bool) -> list[dict]:
    module = torch.jit.load(DATA / "torchscript" / "modules" / f"{name}.pt").eval()
    lines = (DATA / "torchscript" / "row_runs" / rows).read_text(encoding="utf-8").splitlines()
    predictions = []
    for row in map(json.loads, lines):
        with torch.no_grad():
            outputs = module(torch.tensor([row["features"]], dtype=torch.float32))
        outputs = outputs["logits"] if isinstance(outputs, dict) else outputs
        names = [f"LABEL_{i}" for i in range(outputs.numel())] if is_classifier else None
        predictions.append(prediction(outputs, names))
    return predictions


def main() -> None:
    be_quiet()
    versions = {module.__name__: module.__version__ for module in (torch, transformers, peft)}
    with one_thread():
        cases = {name: run_case(name) for name in CASES}
        modules = {name: run_module(name, rows, is_classifier) for name, rows, is_classifier in MODULES}
    result = {"versions": versions, "cases": cases, "modules": modules}
    (DATA / "classification" / "predictions.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
