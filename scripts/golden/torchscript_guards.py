"""More modules of the TorchScript cases: one for each guard and each way to use a weight. Used by torchscript.py."""
from typing import List

import torch
import torch.nn.functional as F
from torch import nn
from torchscript_modules import VOCAB, LanguageModel


class OnDevice(nn.Module):
    """Holds a device and a list of tensors as attributes."""

    def __init__(self):
        super().__init__()
        self.inner = LanguageModel(layers=1)
        self.device = torch.device("cpu")
        self.shifts: List[torch.Tensor] = [torch.randn(VOCAB), torch.randn(VOCAB)]

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        places = torch.arange(input_ids.shape[1], device=self.device).remainder(2).view(1, -1, 1)
        return self.inner(input_ids, attention_mask) + self.shifts[0] * places + self.shifts[1].to(torch.device("cpu"))


class LongPositions(nn.Module):
    """Has more positions than ids, and their table comes before that of the ids."""

    def __init__(self):
        super().__init__()
        self.position = nn.Embedding(64, 8)
        self.embed = nn.Embedding(VOCAB, 8)
        self.head = nn.Linear(8, VOCAB)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        return self.head(torch.tanh(self.position(places) + self.embed(input_ids)))


class OneHot(nn.Module):
    """Has no embedding of ids but a projection of their one-hot rows, and an embedding of positions."""

    def __init__(self):
        super().__init__()
        self.position = nn.Embedding(64, 8)
        self.embed = nn.Linear(VOCAB, 8)
        self.head = nn.Linear(8, VOCAB)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        return self.head(torch.tanh(self.position(places) + self.embed(F.one_hot(input_ids, 48).float())))


class TokenClasses(nn.Module):
    """Gives scores of three classes per token: not a language model."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.embed(input_ids)))


class Chaotic(nn.Module):
    """Amplifies the last bit so much that no two ways to compute a product agree."""

    def __init__(self):
        super().__init__()
        self.inner = LanguageModel(layers=1)
        self.wild = nn.Linear(VOCAB, VOCAB)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        logits = self.inner(input_ids, attention_mask)
        return logits + torch.sin(1e6 * self.wild(logits))


class HalfChaotic(nn.Module):
    """One of many projections does that: its effect is small compared with the others, in half precision like rounding."""

    def __init__(self, count: int = 60):
        super().__init__()
        self.register_buffer("table", torch.randn(VOCAB, 8))
        self.parts = nn.ModuleList([nn.Linear(8, 8, bias=False) for _ in range(count)])
        self.wild = nn.Linear(8, 8, bias=False)
        self.head = nn.Linear(8, VOCAB)
        self.middle = count // 2

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        x = F.embedding(input_ids, self.table)
        y = torch.zeros_like(x)
        for i, part in enumerate(self.parts):
            y = y + part(x)
            if i == self.middle:
                y = y + 0.2 * torch.sin(1e6 * self.wild(x))
        return self.head(y)


class NotFinite(nn.Module):
    """Its result is NaN after any change of its weight."""

    def __init__(self):
        super().__init__()
        self.inner = LanguageModel(layers=1)
        self.edge = nn.Linear(VOCAB, VOCAB, bias=False)
        nn.init.zeros_(self.edge.weight)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        logits = self.inner(input_ids, attention_mask)
        return logits + torch.sqrt(1e-12 - self.edge(logits).abs())


class AutocastTraced(nn.Module):
    """Its trace has the casts of autocast as operations on the weights."""

    def __init__(self):
        super().__init__()
        self.inner = LanguageModel(layers=1)
        self.extra = nn.Linear(VOCAB, VOCAB)

    def forward(self, input_ids, attention_mask):
        logits = self.inner(input_ids, attention_mask)
        with torch.autocast("cpu", torch.bfloat16):
            extra = self.extra(logits)
        return logits + extra.float()


class TiedBias(nn.Module):
    """A head with the embedding's weight and its own bias; with `detached` the embedding itself receives no gradient."""

    def __init__(self, detached: bool):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, 16)
        self.mix = nn.Linear(16, 16)
        self.bias = nn.Parameter(torch.randn(VOCAB))
        self.detached = detached

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        x = self.embed(input_ids)
        if self.detached:
            x = x.detach()
        return F.linear(torch.tanh(self.mix(x)), self.embed.weight, self.bias)


class Rows2d(nn.Module):
    """y = x W + b, as in GPT-2."""

    def __init__(self, dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(dim, dim) / 4)
        self.bias = nn.Parameter(torch.randn(dim) / 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight).view(x.shape)


class TiedRows(nn.Module):
    """Two such modules share a weight, and an addmm also uses the embedding."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, 16)
        self.first = Rows2d(16)
        self.second = Rows2d(16)
        self.second.weight = self.first.weight
        self.head = nn.Linear(16, VOCAB)
        self.bias = nn.Parameter(torch.randn(16))

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        logits = self.head(self.second(torch.tanh(self.first(self.embed(input_ids)))))
        again = torch.addmm(self.bias, torch.softmax(logits, -1).view(-1, logits.shape[-1]), self.embed.weight)
        return logits + self.head(again).view(logits.shape)


class Turned(nn.Module):
    """A parameter is the transposed view of another."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, 16)
        self.mix = nn.Linear(16, 16, bias=False)
        self.back = nn.Parameter(self.mix.weight.detach().t())
        self.head = nn.Linear(16, VOCAB)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.head(F.linear(torch.tanh(self.mix(self.embed(input_ids))), self.back))


class Appending(nn.Module):
    """Remembers what it has seen."""

    def __init__(self):
        super().__init__()
        self.inner = LanguageModel(layers=1)
        self.seen: List[int] = [0]

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        self.seen.append(input_ids.shape[0])
        return self.inner(input_ids, attention_mask)


class SequenceFirst(nn.Module):
    """Has rows [length, batch] inside, and a projection of one row per document."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, 16)
        self.mix = nn.Linear(16, 16)
        self.first = nn.Linear(16, 16)
        self.head = nn.Linear(16, VOCAB)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        x = self.embed(input_ids).transpose(0, 1)
        x = x + torch.tanh(self.mix(x)) + torch.tanh(self.first(x[0]))
        return self.head(x.transpose(0, 1))


class TwoHeads(nn.Module):
    """The logits are the second of two."""

    def __init__(self):
        super().__init__()
        self.inner = LanguageModel(layers=1)
        self.other = nn.Linear(VOCAB, VOCAB)
        self.last = nn.Linear(VOCAB, VOCAB)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor):
        logits = self.inner(input_ids, attention_mask)
        return {"other": self.other(logits), "logits": self.last(logits)}


class Late(nn.Module):
    """Has a projection for long documents only."""

    def __init__(self):
        super().__init__()
        self.inner = LanguageModel(layers=1)
        self.late = nn.Linear(VOCAB, VOCAB)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        logits = self.inner(input_ids, attention_mask)
        if input_ids.shape[1] > 20:
            logits = logits + self.late(logits)
        return logits


class SeesPadding(nn.Module):
    """The padding ids have an effect on every row that is smaller than rounding in half precision, but not zero."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, 8)
        self.mix = nn.Linear(8, 8)
        self.head = nn.Linear(8, VOCAB)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        x = self.embed(input_ids)
        return self.head(torch.tanh(self.mix(x)) + 0.02 * x.mean(1, keepdim=True))


class DroppedAttention(nn.Module):
    """Dropout of attention weights [D, H, L, L] and [D · H, L, L], and one dropout in a loop."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, 16)
        self.q_proj = nn.Linear(16, 16)
        self.head = nn.Linear(16, VOCAB)
        self.dropout = nn.Dropout(0.4)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        D, L = input_ids.shape
        x = self.embed(input_ids)
        mask = torch.ones(L, L, dtype=torch.bool, device=x.device).tril() & (attention_mask.view(D, 1, 1, L) > 0)
        for _ in range(2):
            h = self.q_proj(x).view(D, L, 4, 4).transpose(1, 2)
            weights = torch.softmax((h @ h.transpose(2, 3)).masked_fill(~mask, -1e9), -1)
            x = x + (self.dropout(weights) @ h).transpose(1, 2).reshape(D, L, 16)
            weights = self.dropout(weights.reshape(D * 4, L, L))
            x = self.dropout(x + torch.bmm(weights, h.reshape(D * 4, L, 4)).view(D, 4, L, 4).transpose(1, 2).reshape(D, L, 16))
        return self.head(x)
