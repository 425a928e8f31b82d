#!/usr/bin/env python3
"""Writes the modules of tests/data/torchscript that test the guards of whole rows (load_row_model): bad ones, and similar good ones.

    peer/bin/python scripts/golden/torchscript_row_guards.py [OUT]
"""
import sys
from pathlib import Path
from typing import Optional

import torch
import torch.nn.functional as F
import torchscript
from torch import nn

IDS = 48


class Narrow(nn.Module):
    """Features [6] to some outputs."""

    def __init__(self, outputs: int):
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.out = nn.Linear(8, outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.first(features)))


class ClassLoss(nn.Module):
    def __init__(self, weights):
        super().__init__()
        self.inner = Narrow(len(weights))
        self.register_buffer("weights", torch.tensor(weights))

    def forward(self, features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(self.inner(features), target, weight=self.weights)


class BatchMean(nn.Module):
    """Subtracts a fraction of the batch's mean from each row."""

    def __init__(self, offset: float = 0.0):
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.out = nn.Linear(8, 1)
        self.out.bias.data.add_(offset)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.first(features))
        return self.out(h - h.mean(0, keepdim=True) * 0.5)


class RowMeanLoss(nn.Module):
    """The mean over the rows of each row's mean over its tokens."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(IDS, 8)
        self.out = nn.Linear(8, IDS)

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logits = self.out(torch.tanh(self.embed(input_ids)))[:, :-1]
        wanted = labels[:, 1:]
        losses = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none", ignore_index=-100).view(wanted.shape)
        counts = (wanted != -100).to(losses.dtype)
        return ((losses * counts).sum(1) / counts.sum(1).clamp(min=1.0)).mean()


class Pool(nn.Module):
    """The mean over all positions, including padding."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(IDS, 8)
        self.out = nn.Linear(8, 1)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.embed(input_ids)).mean(1))


class OptionalTarget(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Narrow(1)

    def forward(self, features: torch.Tensor, target: Optional[torch.Tensor] = None) -> torch.Tensor:
        value = self.inner(features).squeeze(-1)
        if target is None:
            return (value * value).mean()
        return F.mse_loss(value, target)


class Logarithms(nn.Module):
    """Not finite for a feature below 0."""

    def __init__(self, outputs: int):
        super().__init__()
        self.inner = Narrow(outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.inner(torch.log(features))


class Category(nn.Module):
    """One feature is the number of a category."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(1000, 4)
        self.out = nn.Linear(4, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.embed(features[:, 0].long())))


class PlacesFirst(nn.Module):
    """Features [3, 6], computed as [3, N, 8], with dropout."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.dropout = nn.Dropout(0.5)
        self.out = nn.Linear(8, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        h = self.first(features.transpose(0, 1).contiguous())
        return self.out(self.dropout(torch.tanh(h)).mean(0))


class TrainingSum(nn.Module):
    """Returns a mean in evaluation mode only."""

    def __init__(self):
        super().__init__()
        self.inner = Narrow(1)

    def forward(self, features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        losses = (self.inner(features).squeeze(-1) - target) ** 2
        return losses.sum() if self.training else losses.mean()


class ChanceLoss(nn.Module):
    """Takes only targets with the dtype of its scores."""

    def __init__(self):
        super().__init__()
        self.inner = Narrow(1)

    def forward(self, features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(self.inner(features).squeeze(-1), target)


class Zeros(Narrow):
    """Has a last layer of zeros, like a head before its training."""

    def __init__(self, outputs: int):
        super().__init__(outputs)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)


class ZeroLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Zeros(2)

    def forward(self, features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(self.inner(features), target)


MODULES = {
    "class_loss": lambda: ClassLoss([1.0, 1.0, 1.0]),
    "bad_weighted_loss": lambda: ClassLoss([1.0, 10.0]),
    "bad_weighted_bfloat16": lambda: ClassLoss([1.0, 1.5]).bfloat16(),
    "bad_batch_mean": BatchMean,
    "bad_batch_mean_far": lambda: BatchMean(2000.0),
    "bad_batch_mean_bfloat16": lambda: BatchMean(20.0).bfloat16(),
    "row_mean_loss": RowMeanLoss,
    "row_mean_bfloat16": lambda: RowMeanLoss().bfloat16(),
    "pool": Pool,
    "optional_target": OptionalTarget,
    "logarithms": lambda: Logarithms(1),
    "logarithm_scores": lambda: Logarithms(3),
    "category_bfloat16": lambda: Category().bfloat16(),
    "narrow_float16": lambda: Narrow(1).half(),
    "places_first": PlacesFirst,
    "bad_training_sum": TrainingSum,
    "chance_loss": ChanceLoss,
    "zeros": lambda: Zeros(1),
    "zero_loss": ZeroLoss,
}


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "tests/data/torchscript"
    for i, (name, make) in enumerate(MODULES.items()):
        torch.manual_seed(200 + i)
        torchscript.save(torch.jit.script(make().eval()), out / "modules" / f"{name}.pt")


if __name__ == "__main__":
    main()
