"""The rows that both sides train on: random token ids with realistic lengths and masks."""

import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

IGNORED = -100


@dataclass(frozen=True)
class Workload:
    """A kind of training data; `draw` returns (length, masked tokens at the start) of a document."""

    title: str
    batch_size: int
    draw: Callable[[random.Random], tuple[int, int]]


def instruction(random_: random.Random) -> tuple[int, int]:
    """Log-normal lengths with median 180; three fifths are the prompt."""
    length = round(min(max(random_.lognormvariate(math.log(180), 0.6), 16), 1024))
    return length, round(0.6 * length)


def short_answer(random_: random.Random) -> tuple[int, int]:
    prompt = random_.randint(900, 1100)
    return prompt + random_.randint(20, 40), prompt


WORKLOADS = {
    "a512": Workload("full rows of 512, nothing masked", 4, lambda _: (512, 0)),
    "a2048": Workload("full rows of 2048, nothing masked", 4, lambda _: (2048, 0)),
    "b": Workload("instruction data, lengths log-normal with median 180, prompt (60 %) masked", 8, instruction),
    "c": Workload("prompt of 900 to 1100 tokens, answer of 20 to 40", 4, short_answer),
}


@dataclass
class Step:
    """The batch of one optimiser step."""

    lengths: list[int]
    supervised: int

    def tokens(self) -> int:
        return sum(self.lengths)


def write_rows(path: Path, name: str, vocabulary: int, steps: int, shrink: int) -> list[Step]:
    """Writes the rows of `steps` batches in the format `tokens`, the same in every run. `shrink` divides the lengths."""
    workload = WORKLOADS[name]
    random_ = random.Random(f"{name} {vocabulary}")
    done = []
    with path.open("w", encoding="utf-8") as file:
        for _ in range(steps):
            step = Step([], 0)
            for _ in range(workload.batch_size):
                length, masked = (max(size // shrink, least) for size, least in zip(workload.draw(random_), (4, 0), strict=True))
                ids = [random_.randrange(vocabulary) for _ in range(length)]
                file.write(json.dumps({"input_ids": ids, "labels": [IGNORED] * masked + ids[masked:]}) + "\n")
                step.lengths.append(length)
                step.supervised += length - max(masked, 1)  # labels are shifted: the first token is never predicted
            done.append(step)
    return done
