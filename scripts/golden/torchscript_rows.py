#!/usr/bin/env python3
"""Writes the cases of tests/data/torchscript whose networks get whole rows: modules, rows and LoRA training in eager Python.

    peer/bin/python scripts/golden/torchscript_rows.py [OUT]

Run it after torchscript.py, whose perceptron.pt, perceptron_loss.pt and vision.pt it trains. `row_runs/<case>/` is like
`runs/<case>/` there: run.json, adapter/, expected.json (losses and gradient norms of 20 steps, loss and metrics of the
evaluation), expected.safetensors (the gradients of the first step, the trained tensors).
"""
import copy
import json
import sys
from pathlib import Path

import label_metrics
import peft
import torch
import torch.nn.functional as F
import torchscript
import torchscript_modules as modules
from safetensors.torch import save_file
from torch import nn

ROWS = 24
NAMES = ["bird", "cat", "dog"]


class DocumentClassifier(nn.Module):
    """Three classes of documents; padding is ignored."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(modules.VOCAB, 12)
        self.hidden = nn.Linear(12, 24)
        self.classifier = nn.Linear(24, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor):
        mask = attention_mask.unsqueeze(-1).to(self.classifier.weight.dtype)
        x = torch.tanh(self.hidden(self.embed(input_ids))) * mask
        return {"logits": self.classifier(x.sum(1) / mask.sum(1))}


class MaskedLoss(nn.Module):
    """Its own loss of the supervised tokens, as transformers' models return it: the mean over them."""

    def __init__(self):
        super().__init__()
        self.inner = modules.LanguageModel(layers=1)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor):
        logits = self.inner(input_ids, attention_mask)
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        return loss, logits


class Autoencoder(nn.Module):
    """A loss without any target."""

    def __init__(self):
        super().__init__()
        self.narrow = nn.Linear(6, 3)
        self.wide = nn.Linear(3, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(self.wide(torch.tanh(self.narrow(x))), x)


class BatchNorm(nn.Module):
    def __init__(self, track: bool):
        super().__init__()
        self.first = nn.Linear(6, 16)
        self.norm = nn.BatchNorm1d(16, track_running_stats=track)
        self.dropout = nn.Dropout(0.1)
        self.out = nn.Linear(16, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.out(self.dropout(torch.relu(self.norm(self.first(features)))))


class TrainingMean(nn.Module):
    """Depends on the other rows in training mode only."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 16)
        self.dropout = nn.Dropout(0.1)
        self.out = nn.Linear(16, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        x = self.first(features)
        if self.training:
            x = x - x.mean(0, keepdim=True)
        return self.out(torch.relu(self.dropout(x)))


class DropoutVision(modules.Vision):
    """Has its own dropout, of patches and of pooled rows."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([modules.Block(16, True, 0.3) for _ in range(2)])
        self.dropout = nn.Dropout(0.2)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        x = self.patches(features).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.places
        mask = torch.ones(1, 5, 5, dtype=torch.bool, device=x.device)
        for layer in self.layers:
            x = layer(x, mask)
        return self.head(self.dropout(self.norm(x[:, 0])))


class Convolutions(nn.Module):
    """Convolutions over two axes and over one."""

    def __init__(self):
        super().__init__()
        self.image = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.line = nn.Conv1d(4, 5, 3, padding=1, bias=False)
        self.head = nn.Linear(5, 3)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.image(features)).flatten(2)
        return self.head(torch.tanh(self.line(x)).mean(-1))


class SumLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = modules.Perceptron()

    def forward(self, features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(self.inner(features).squeeze(-1), target, reduction="sum")


class NoPrediction(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = modules.Perceptron()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.inner(features).mean()


# name: (eager module, function that turns it into TorchScript), or None for modules of torchscript.py
MODULES = {
    "perceptron_two": lambda: modules.Perceptron(outputs=2),
    "document_classifier": DocumentClassifier,
    "masked_loss": MaskedLoss,
    "autoencoder": Autoencoder,
    "bad_batch_norm": lambda: BatchNorm(False),
    "batch_norm": lambda: BatchNorm(True),
    "bad_training_mean": TrainingMean,
    "bad_sum_loss": SumLoss,
    "bad_no_prediction": NoPrediction,
    "vision_dropout": DropoutVision,
    "convolutions": Convolutions,
}
GIVEN = {"perceptron": modules.Perceptron, "perceptron_loss": modules.PerceptronLoss, "vision": modules.Vision}


def numbers(shape, generator):
    return (torch.randn(shape, generator=generator) * 1000).round() / 1000


def listed(tensor):
    return [listed(part) for part in tensor] if tensor.dim() else round(float(tensor), 3)


def feature_rows(seed, count, shape, target):
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(count):
        features = numbers(shape, generator)
        rows.append({"features": listed(features), "target": target(features)})
    return rows


def value(features):
    return round(float(torch.sin(features[0]) + 0.5 * features[1] * features[2]), 3)


def two_values(features):
    return [value(features), round(float(features[3] - features[4] ** 2), 3)]


def kind(features):
    return NAMES[int((features.mean() * 20 + 1).clamp(0, 2).round())]


def document_rows(seed, count):
    rows = torchscript.rows_of(seed, count)
    return [{"input_ids": row["input_ids"], "label": sum(row["input_ids"]) % 3} for row in rows]


DATA = {
    "features": lambda seed, count: feature_rows(seed, count, (6,), value),
    "pairs": lambda seed, count: feature_rows(seed, count, (6,), two_values),
    "images": lambda seed, count: feature_rows(seed, count, (3, 8, 8), kind),
    "documents": document_rows,
    "tokens": torchscript.rows_of,
}


def features_of(rows):
    return torch.tensor([row["features"] for row in rows], dtype=torch.float32)


def targets_of(rows):
    return torch.tensor([row["target"] for row in rows], dtype=torch.float32)


def padded(rows, labels=False):
    length = max(len(row["input_ids"]) for row in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    mask, own = torch.zeros_like(ids), torch.full_like(ids, -100)
    for i, row in enumerate(rows):
        n = len(row["input_ids"])
        ids[i, :n], mask[i, :n] = torch.tensor(row["input_ids"]), 1
        own[i, :n] = torch.tensor(row.get("labels", row["input_ids"]))
    return (ids, mask, own) if labels else (ids, mask)


def regression(network, rows):
    predicted = network(features_of(rows))
    target = targets_of(rows)
    return F.mse_loss(predicted.squeeze() if target.dim() == 1 else predicted, target.squeeze()), len(rows), predicted


def classes(network, rows):
    predicted = network(features_of(rows))
    return F.cross_entropy(predicted, torch.tensor([NAMES.index(row["target"]) for row in rows])), len(rows), predicted


def documents(network, rows):
    predicted = network(*padded(rows))
    return F.cross_entropy(predicted, torch.tensor([row["label"] for row in rows])), len(rows), predicted


def own_loss(network, rows):
    return network(features_of(rows), targets_of(rows)), len(rows), None


def reconstruction(network, rows):
    return network(features_of(rows)), len(rows), None


def masked_loss(network, rows):
    ids, mask, labels = padded(rows, labels=True)
    return network(ids, mask, labels), int((labels[:, 1:] != -100).sum()), None


# case: (module, adapted modules, data, its format, objective, loss, more keys of run.json's model)
RUNS = {
    "perceptron": ("perceptron", ["first", "second", "out"], "features", "features", "regression", regression, {}),
    "perceptron_two": ("perceptron_two", ["first", "out"], "pairs", "features", "regression", regression, {}),
    "vision": ("vision", ["q_proj", "v_proj", "up", "down", "head"], "images", "features", "sequence_classification", classes, {}),
    "convolutions": ("convolutions", ["image", "line", "head"], "images", "features", "sequence_classification", classes, {}),
    "document_classifier": ("document_classifier", ["hidden", "classifier"], "documents", "classification", "sequence_classification",
                            documents, {}),
    "perceptron_loss": ("perceptron_loss", ["first", "second", "out"], "features", "features", "module_loss", own_loss, {}),
    "autoencoder": ("autoencoder", ["narrow", "wide"], "features", "features", "module_loss", reconstruction, {"inputs": ["features"]}),
    "masked_loss": ("masked_loss", ["q_proj", "v_proj", "down"], "tokens", "tokens", "module_loss", masked_loss, {"output": "0"}),
}  # fmt: skip


def evaluation(network, rows, loss_of):
    """One row at a time: the loss and the metrics of the predictions; means over several values."""
    total, count, predictions = 0.0, 0, []
    with torch.no_grad():
        for row in rows:
            loss, number, predicted = loss_of(network, [row])
            total, count = total + float(loss) * number, count + number
            predictions.append(predicted)
    result = {"eval_loss": total / count}
    if loss_of is regression:
        predicted, target = torch.cat(predictions).double(), targets_of(rows).double().reshape(len(rows), -1)
        own = [label_metrics.value_metrics(predicted[:, k].tolist(), target[:, k].tolist()) for k in range(target.shape[1])]
        result |= {f"eval_{name}": sum(metrics[name] for metrics in own) / len(own) for name in own[0]}
    elif predictions[0] is not None:
        found = torch.cat(predictions).argmax(1).tolist()
        wanted = [NAMES.index(row["target"]) if "target" in row else row["label"] for row in rows]
        metrics = label_metrics.class_metrics(found, wanted, predictions[0].shape[1])
        result |= {f"eval_{name}": value for name, value in metrics.items()}
    return result


class Results(torchscript.HandWritten):
    """The prediction in the module's result: the first of a tuple, the logits of a dictionary."""

    def __call__(self, *inputs):
        result = self.module(*inputs)
        return result["logits"] if isinstance(result, dict) else result[0] if isinstance(result, tuple) else result


def check_peft(eager, folder: Path, network, rows, loss_of):
    """Checks that the model with PEFT's adapter has the losses of the eager one."""
    with torch.no_grad():
        expected = float(loss_of(network, rows)[0])
        model = Results(peft.PeftModel.from_pretrained(eager, folder / "adapter").eval(), [])
        assert abs(float(loss_of(model, rows)[0]) - expected) < 1e-6, folder


def train(network, rows, loss_of, gradients):
    optimizer = torch.optim.AdamW(network.parameters(), lr=torchscript.RATE, weight_decay=0.0)
    steps = []
    for step in range(torchscript.STEPS):
        begin = step * torchscript.BATCH % len(rows)
        loss, _, _ = loss_of(network, rows[begin:begin + torchscript.BATCH])
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            gradients.update({f"grad.{name}": tensor.grad.clone() for name, tensor in torchscript.named(network)})
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        steps.append({"step": step + 1, "loss": float(loss), "grad_norm": float(norm)})
    return steps


def write_run(out: Path, case: str):
    module, targets, data, data_format, objective, loss_of, model_keys = RUNS[case]
    eager = (GIVEN | MODULES)[module]().eval()
    eager.load_state_dict(torch.jit.load(str(out / "modules" / f"{module}.pt")).state_dict())
    names = [name for name, _ in eager.named_modules() if any(name == t or name.endswith("." + t) for t in targets)]
    network = Results(copy.deepcopy(eager), names)
    folder = out / "row_runs" / case
    (folder / "adapter").mkdir(parents=True, exist_ok=True)
    save_file(network.tensors(), folder / "adapter" / "adapter_model.safetensors")
    adapter = torchscript.adapter_config(module, targets)
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(adapter, indent=1) + "\n")
    source = {"format": data_format}
    run = {
        "model": {"path": f"../../modules/{module}.pt", "trust_torchscript": True} | model_keys,
        "adapter": adapter | {"init_from": "adapter"},
        "data": {"train": [{"path": f"../{data}.jsonl"} | source], "eval": [{"path": f"../{data}_eval.jsonl"} | source],
                 "shuffle": False},
        "training": {"objective": objective, "max_steps": torchscript.STEPS, "per_device_train_batch_size": torchscript.BATCH,
                     "learning_rate": torchscript.RATE, "lr_scheduler_type": "constant", "weight_decay": 0.0, "logging_steps": 1},
        "output_dir": "out"}  # fmt: skip
    (folder / "run.json").write_text(json.dumps(run, indent=1) + "\n")
    gradients = {}
    eval_rows = DATA[data](2, 8)
    check_peft(eager, folder, network, eval_rows, loss_of)
    expected = {"start": evaluation(network, eval_rows, loss_of)}
    expected["steps"] = train(network, DATA[data](1, ROWS), loss_of, gradients)
    expected["end"] = evaluation(network, eval_rows, loss_of)
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    trained = {f"trained.{name[17:]}": tensor for name, tensor in network.tensors().items()}
    save_file(gradients | trained, folder / "expected.safetensors")


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "tests/data/torchscript"
    for i, (name, make) in enumerate(MODULES.items()):
        torch.manual_seed(100 + i)
        torchscript.save(torch.jit.script(make().eval()), out / "modules" / f"{name}.pt")
    (out / "row_runs").mkdir(exist_ok=True)
    for name, make in DATA.items():
        for suffix, seed, count in (("", 1, ROWS), ("_eval", 2, 8)):
            text = "".join(json.dumps(row) + "\n" for row in make(seed, count))
            (out / "row_runs" / f"{name}{suffix}.jsonl").write_text(text)
    for case in RUNS:
        write_run(out, case)


if __name__ == "__main__":
    main()
