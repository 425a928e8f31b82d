"""The metrics of a classification by their definitions, equal to those of scikit-learn and scipy, with numpy only.

    python label_metrics.py        writes tests/data/classification/metrics.json: predictions, labels and their metrics
"""

import json
import random
from pathlib import Path

import numpy

DATA = Path(__file__).resolve().parents[2] / "tests" / "data" / "classification"


def f1_of(predicted: numpy.ndarray, actual: numpy.ndarray, label: int) -> float:
    """The harmonic mean of precision and recall; 0 where there is none."""
    both = numpy.sum((predicted == label) & (actual == label))
    if both == 0:
        return 0.0
    precision, recall = both / numpy.sum(predicted == label), both / numpy.sum(actual == label)
    return float(2 * precision * recall / (precision + recall))


def matthews(predicted: numpy.ndarray, actual: numpy.ndarray) -> float:
    """Covariance of the one-hot matrices divided by the root of the product of their variances (Gorodkin 2004, R_K)."""
    classes = numpy.union1d(predicted, actual)
    x, y = (numpy.equal.outer(side, classes).astype(float) for side in (predicted, actual))
    x, y = x - x.mean(0), y - y.mean(0)
    spread = numpy.sum(x * x) * numpy.sum(y * y)
    return round(float(numpy.sum(x * y) / numpy.sqrt(spread)), 15) + 0.0 if spread > 0 else 0.0


def class_metrics(predicted: list[int], actual: list[int], num_classes: int | None = None) -> dict:
    predicted, actual = numpy.array(predicted), numpy.array(actual)
    occurring = numpy.union1d(predicted, actual)
    is_binary = (num_classes or int(occurring.max()) + 1) <= 2
    f1 = f1_of(predicted, actual, 1) if is_binary else float(numpy.mean([f1_of(predicted, actual, label) for label in occurring]))
    return {"accuracy": float(numpy.mean(predicted == actual)), "f1": f1, "matthews_correlation": matthews(predicted, actual)}


def ranks(values: numpy.ndarray) -> numpy.ndarray:
    """Ranks from 1; equal values have the mean of their ranks."""
    return numpy.array([(numpy.sum(values < value) + 1 + numpy.sum(values <= value)) / 2 for value in values])


def pearson(a: numpy.ndarray, b: numpy.ndarray) -> float | None:
    return None if a.std() == 0 or b.std() == 0 else float(numpy.corrcoef(a, b)[0, 1])


def value_metrics(predicted: list[float], actual: list[float]) -> dict:
    a, b = numpy.array(predicted, dtype=float), numpy.array(actual, dtype=float)
    return {"pearson": pearson(a, b), "spearmanr": pearson(ranks(a), ranks(b))}


def main() -> None:
    draw = random.Random(5)
    cases = []
    for classes, size in ((2, 1), (2, 9), (2, 50), (3, 4), (3, 40), (5, 17), (7, 200)):
        actual = [draw.randrange(classes) for _ in range(size)]
        predicted = [label if draw.random() < 0.6 else draw.randrange(classes) for label in actual]
        cases.append((classes, predicted, actual))
    cases += [(2, [0] * 6, [0, 1, 0, 1, 0, 0]), (2, [1] * 4, [1] * 4), (4, [3] * 5, [1, 2, 3, 3, 1]), (2, [0, 1, 1], [1, 0, 0])]
    rows = [{"classes": c, "predicted": p, "actual": a} | class_metrics(p, a, c) for c, p, a in cases]
    for size in (2, 5, 40):
        actual = [round(draw.uniform(0, 5), 1) for _ in range(size)]
        predicted = [round(value + draw.gauss(0, 1), 1) for value in actual]
        rows.append({"classes": 1, "predicted": predicted, "actual": actual} | value_metrics(predicted, actual))
    rows.append({"classes": 1, "predicted": [0.5] * 4, "actual": [1.0, 2.0, 3.0, 3.0]} | value_metrics([0.5] * 4, [1.0, 2.0, 3.0, 3.0]))
    DATA.mkdir(parents=True, exist_ok=True)
    (DATA / "metrics.json").write_text(json.dumps(rows, indent=None, separators=(",", ":")).replace("},{", "},\n{") + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
