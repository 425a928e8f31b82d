"""The modules of the TorchScript cases: those that users may have, and those that must be refused. Used by torchscript.py."""
import torch
import torch.nn.functional as F
from torch import nn

VOCAB = 48


class Norm(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.weight = nn.Parameter(1 + 0.1 * torch.randn(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class Block(nn.Module):
    def __init__(self, dim: int, bias: bool, dropout: float):
        super().__init__()
        self.norm = Norm(dim)
        self.q_proj = nn.Linear(dim, dim, bias=bias)
        self.k_proj = nn.Linear(dim, dim, bias=bias)
        self.v_proj = nn.Linear(dim, dim, bias=bias)
        self.o_proj = nn.Linear(dim, dim, bias=bias)
        self.up = nn.Linear(dim, 2 * dim, bias=bias)
        self.down = nn.Linear(2 * dim, dim, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        h = self.norm(x)
        scores = self.q_proj(h) @ self.k_proj(h).transpose(1, 2) / 4.0
        attended = torch.softmax(scores.masked_fill(~mask, -1e9), -1) @ self.v_proj(h)
        x = x + self.dropout(self.o_proj(attended))
        return x + self.down(F.silu(self.up(x)))


class LanguageModel(nn.Module):
    """A small language model."""

    def __init__(self, dim: int = 16, layers: int = 2, bias: bool = False, dropout: float = 0.0, tied: bool = False):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, dim)
        self.position = nn.Embedding(32, dim)
        self.layers = nn.ModuleList([Block(dim, bias, dropout) for _ in range(layers)])
        self.norm = Norm(dim)
        self.head = nn.Linear(dim, VOCAB, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        causal = places.unsqueeze(0) <= places.unsqueeze(1)
        mask = causal.unsqueeze(0) & (attention_mask.unsqueeze(1) > 0)
        x = self.embed(input_ids) + self.position(places)
        for layer in self.layers:
            x = layer(x, mask)
        return self.head(self.norm(x))


class Tiny(nn.Module):
    """The smallest language model."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, 8)
        self.head = nn.Linear(8, VOCAB)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.embed(input_ids)))


class ControlFlow(nn.Module):
    """Has branches and loops that only a script can express, named results, and an argument with a default."""

    def __init__(self):
        super().__init__()
        self.inner = LanguageModel(layers=1)
        self.extra = nn.Linear(VOCAB, VOCAB)
        self.rounds = 2

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, scale: float = 1.0):
        logits = self.inner(input_ids, attention_mask)
        for _ in range(self.rounds):
            if input_ids.shape[0] > 1:
                logits = logits + scale * self.extra(logits)
            else:
                logits = logits + 0.5 * self.extra(logits)
        return {"hidden": logits * 2, "logits": logits}


class Tuple(nn.Module):
    """Takes labels too, and returns a loss before the logits."""

    def __init__(self):
        super().__init__()
        self.inner = LanguageModel(layers=1)

    def forward(self, input_ids, attention_mask, labels):
        logits = self.inner(input_ids, attention_mask)
        loss = F.cross_entropy(logits[:, :-1].reshape(-1, VOCAB), labels[:, 1:].reshape(-1), ignore_index=-100)
        return loss, logits


class Hidden(nn.Module):
    """Weights that operations hide: a plain matmul, an einsum."""

    def __init__(self):
        super().__init__()
        self.inner = LanguageModel(layers=1)
        self.mix = nn.Parameter(torch.randn(VOCAB, VOCAB) / 7)
        self.blend = nn.Parameter(torch.randn(VOCAB, VOCAB) / 7)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        logits = self.inner(input_ids, attention_mask)
        return torch.einsum("blv,vw->blw", torch.matmul(logits, self.mix), self.blend)


class FastPath(nn.Module):
    """torch's encoder layer, which has a native fast path in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, VOCAB)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(self.embed(input_ids)))


class WeightNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = LanguageModel(layers=1)
        self.extra = nn.utils.weight_norm(nn.Linear(VOCAB, VOCAB))

    def forward(self, input_ids, attention_mask):
        return self.extra(self.inner(input_ids, attention_mask))


class Autocast(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = LanguageModel(layers=1)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.inner(input_ids, attention_mask)
        return logits.float()


class NoGrad(nn.Module):
    def __init__(self, part: bool):
        super().__init__()
        self.inner = LanguageModel(layers=1)
        self.extra = nn.Linear(VOCAB, VOCAB)
        self.part = part

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            logits = self.inner(input_ids, attention_mask)
            if not self.part:
                logits = self.extra(logits)
        return self.extra(logits) if self.part else logits


class Counting(nn.Module):
    """Changes itself."""

    def __init__(self):
        super().__init__()
        self.inner = LanguageModel(layers=1)
        self.calls = 0

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        self.calls = self.calls + 1
        return self.inner(input_ids, attention_mask)


class CountingTensor(nn.Module):
    """Changes one of its tensors in place."""

    def __init__(self):
        super().__init__()
        self.inner = LanguageModel(layers=1)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        self.calls.add_(1)
        return self.inner(input_ids, attention_mask)


class Forking(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = LanguageModel(layers=1)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        future = torch.jit.fork(self.inner, input_ids, attention_mask)
        return torch.jit.wait(future)


class Baked(nn.Module):
    """Python computes with a size, which becomes a constant of the trace."""

    def __init__(self):
        super().__init__()
        self.inner = LanguageModel(layers=1)

    def forward(self, input_ids, attention_mask):
        length = int(input_ids.shape[1])
        return self.inner(input_ids, attention_mask) + torch.zeros(length, VOCAB)


class Perceptron(nn.Module):
    """Not a language model: takes rows of features."""

    def __init__(self, outputs: int = 1):
        super().__init__()
        self.first = nn.Linear(6, 16)
        self.second = nn.Linear(16, 16)
        self.out = nn.Linear(16, outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.out(torch.relu(self.second(torch.relu(self.first(features)))))


class PerceptronLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Perceptron()

    def forward(self, features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.smooth_l1_loss(self.inner(features).squeeze(-1), target)


class Vision(nn.Module):
    """A vision transformer on stored tensors [3, 8, 8]."""

    def __init__(self, outputs: int = 3, dim: int = 16):
        super().__init__()
        self.patches = nn.Conv2d(3, dim, 4, stride=4)
        self.cls = nn.Parameter(torch.randn(1, 1, dim) / 4)
        self.places = nn.Parameter(torch.randn(1, 5, dim) / 4)
        self.layers = nn.ModuleList([Block(dim, True, 0.0) for _ in range(2)])
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        x = self.patches(features).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.places
        mask = torch.ones(1, 5, 5, dtype=torch.bool, device=x.device)
        for layer in self.layers:
            x = layer(x, mask)
        return self.head(self.norm(x[:, 0]))
