"""Checks the reference itself: transformers' real Trainer, on padded batches, against the committed expected results.

    python llama_trainer.py [CASE]...      (needs accelerate)
"""

import sys
import tempfile
from pathlib import Path

import torch
from llama_golden import DATA
from llama_reference import IGNORED, be_quiet, documents_of, load_trainable, one_thread, read_json, trained_tensors
from lora_start import is_started
from safetensors.torch import load_file
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainingArguments


class FileOrderTrainer(Trainer):
    def _get_train_sampler(self, *_args, **_kwargs):
        return SequentialSampler(self.train_dataset)


def pad(rows: list[dict]) -> dict:
    longest = max(len(row["input_ids"]) for row in rows)

    def column(key: str, filler: int) -> torch.Tensor:
        return torch.tensor([row[key] + [filler] * (longest - len(row[key])) for row in rows])

    return {"input_ids": column("input_ids", 0), "labels": column("labels", IGNORED), "attention_mask": column("mask", 0)}


def compare(folder: Path) -> bool:
    run = read_json(folder / "run.json")
    rows = [{"input_ids": d.ids, "labels": d.labels, "mask": [1] * len(d.ids)} for d in documents_of(folder, run, "train")]
    with tempfile.TemporaryDirectory() as output:
        settings = {key: value for key, value in run["training"].items() if key != "eval_steps"}
        arguments = TrainingArguments(output_dir=output, report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True,
                                      remove_unused_columns=False, **settings)  # fmt: skip
        trainer = FileOrderTrainer(model=load_trainable(folder, run), args=arguments, train_dataset=rows, data_collator=pad)
        trainer.train()
    logged = [row for row in trainer.state.log_history if "grad_norm" in row]
    expected = read_json(folder / "expected.json")["steps"]
    assert len(logged) == len(expected)
    worst = {key: max(abs(a[key] - b[key]) / max(abs(b[key]), 1e-12) for a, b in zip(logged, expected))
             for key in ("loss", "learning_rate", "grad_norm")}  # fmt: skip
    tensors = load_file(folder / "expected.safetensors")
    worst["tensors"] = max((tensors[f"trained.{key}"] - value).abs().max().item() for key, value in trained_tensors(trainer.model).items())
    print(f"{folder.name:8} " + ", ".join(f"{key} {value:.1e}" for key, value in worst.items()))
    return worst["loss"] < 1e-6 and worst["learning_rate"] < 1e-9 and worst["grad_norm"] < 1e-4 and worst["tensors"] < 5e-6


def main() -> int:
    be_quiet()
    # with dynamic RoPE, padding counts as a part of the document, so a padded batch cannot be equal; a case that starts
    # by itself has no trained tensors to compare
    cases = [run.parent.name for run in sorted(DATA.glob("*/run.json")) if not is_started(read_json(run))]
    names = sys.argv[1:] or [name for name in cases if name != "dynamic"]
    with one_thread():
        return 0 if all([compare(DATA / name) for name in names]) else 1


if __name__ == "__main__":
    sys.exit(main())
