#!/usr/bin/env python3
"""Writes tests/data/train/strategies.json: after which steps transformers' Trainer evaluates, saves and logs, and the learning rates of a
run that is extended.

Needs torch, transformers and accelerate (the versions used are in the file). Run from anywhere:
    python scripts/golden/strategies.py
"""

import json
import logging
import tempfile
from pathlib import Path

import accelerate
import torch
import transformers
from torch import nn
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments

OUTPUT = Path(__file__).resolve().parents[2] / "tests" / "data" / "train" / "strategies.json"
ROWS = 14  # with batches of 2: 7 micro-batches per epoch

# keys of `training` -> events of the run; `losses` are the results of its evaluations, in order
CASES = [
    dict(num_train_epochs=2, eval_strategy="epoch", save_strategy="epoch"),
    dict(num_train_epochs=2, gradient_accumulation_steps=2, eval_strategy="epoch", save_strategy="epoch"),
    dict(max_steps=10, eval_strategy="epoch", save_strategy="epoch"),
    dict(num_train_epochs=1.5, gradient_accumulation_steps=3, eval_strategy="epoch", save_strategy="steps", save_steps=2),
    dict(max_steps=11, eval_strategy="steps", eval_steps=4, save_strategy="epoch", logging_steps=3),
    dict(max_steps=11, eval_strategy="steps", save_strategy="no", logging_steps=3),
    dict(max_steps=8, eval_strategy="steps", eval_steps=4, save_strategy="steps", save_steps=3, logging_steps=5),
    dict(max_steps=9, eval_strategy="no", save_strategy="steps", save_steps=4),
    dict(max_steps=9, eval_strategy="no", save_strategy="no"),
    dict(max_steps=11, eval_strategy="steps", eval_steps=0.25, save_strategy="steps", save_steps=0.5, logging_steps=0.1),
    dict(max_steps=21, eval_strategy="steps", eval_steps=0.3, save_strategy="steps", save_steps=0.9, logging_steps=0.05),
    dict(max_steps=10, eval_strategy="steps", eval_steps=2, save_strategy="best", losses=[3.0, 2.0, 2.5, 1.0, 1.5]),
    dict(num_train_epochs=4, eval_strategy="epoch", save_strategy="best", losses=[3.0, 4.0, 2.0, 2.0]),
    dict(max_steps=20, eval_strategy="steps", eval_steps=2, save_strategy="steps", save_steps=4, load_best_model_at_end=True, patience=2,
         losses=[3.0, 2.0, 2.5, 2.5, 1.0]),
    dict(num_train_epochs=6, eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True, patience=1,
         losses=[3.0, 2.0, 2.5, 2.5, 1.0]),
]  # fmt: skip

LENGTHS = [
    dict(lr_scheduler_type="linear", warmup_steps=2, lengths=[6, 10]),
    dict(lr_scheduler_type="cosine", warmup_steps=0.5, lengths=[4, 12]),  # a fraction of all steps: the longer run warms up again
    dict(lr_scheduler_type="constant", warmup_steps=0, lengths=[5, 8]),
]


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.5]))

    def forward(self, x, labels=None):
        return {"loss": ((x * self.weight - labels) ** 2).mean()}


class ScriptedTrainer(Trainer):
    """A Trainer whose evaluations return the losses of the case."""

    losses = None

    def evaluate(self, *_args, **_kwargs):
        metrics = {"eval_loss": self.losses.pop(0) if self.losses else 1.0}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


class Recorder(TrainerCallback):
    def __init__(self):
        self.evaluated, self.saved, self.logged, self.rates = [], [], [], []

    def on_evaluate(self, _args, state, _control, **_kwargs):
        self.evaluated.append(state.global_step)

    def on_save(self, _args, state, _control, **_kwargs):
        self.saved.append(state.global_step)

    def on_log(self, _args, state, _control, logs=None, **_kwargs):
        if "loss" in logs:
            self.logged.append(state.global_step)
            self.rates.append(logs["learning_rate"])


def train(folder: str, resume: str | None = None, losses=None, patience=None, **settings) -> tuple[Recorder, int]:
    recorder = Recorder()
    rows = [{"x": torch.tensor([float(i)]), "labels": torch.tensor([2.0 * i])} for i in range(ROWS)]
    settings.setdefault("metric_for_best_model", "loss")
    arguments = TrainingArguments(output_dir=folder, per_device_train_batch_size=2, report_to=[], use_cpu=True, disable_tqdm=True,
                                  learning_rate=1e-3, **settings)  # fmt: skip
    callbacks = [recorder] + ([EarlyStoppingCallback(patience)] if patience else [])
    trainer = ScriptedTrainer(model=Line(), args=arguments, train_dataset=rows, eval_dataset=rows, callbacks=callbacks)
    trainer.losses = list(losses or [])
    trainer.train(resume_from_checkpoint=resume)
    return recorder, trainer.state.global_step


def run_case(case: dict) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        recorder, steps = train(folder, **case)
    return {"training": case, "steps": steps, "evaluated": recorder.evaluated, "saved": recorder.saved, "logged": recorder.logged}


def make_longer(case: dict) -> dict:
    case = dict(case)
    first, second = case.pop("lengths")
    with tempfile.TemporaryDirectory() as folder:
        train(folder, max_steps=first, logging_steps=1, save_strategy="steps", save_steps=first, **case)
        recorder, _ = train(folder, f"{folder}/checkpoint-{first}", max_steps=second, logging_steps=1, save_strategy="no", **case)
    return {"training": case, "lengths": [first, second], "learning_rates": recorder.rates}


def main() -> None:
    logging.disable(logging.WARNING)
    versions = {module.__name__: module.__version__ for module in (torch, transformers, accelerate)}
    result = {"versions": versions, "rows": ROWS, "cases": [run_case(case) for case in CASES], "longer": [make_longer(case) for case in LENGTHS]}
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
