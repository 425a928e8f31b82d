"""Measures the rate of torch.mm at given shapes and prints it as JSON: {"flops_per_second": …}.

    python gemm_rate.py --dtype float32 --shapes '[[rows, inputs, outputs, count], …]'

Each shape is run as in a training step with LoRA: x Wᵀ forward and dY W backward. The rate is the FLOPs of the whole step
divided by its time, so each shape has the weight that it has in training.
"""

import argparse
import json
import statistics
import time

import torch

REPEATS = 3


def median_seconds(product) -> float:
    product()  # warm-up
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        product()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def shape_seconds(rows: int, inputs: int, outputs: int, dtype: torch.dtype) -> float:
    x, dy, weight = (torch.randn(shape).to(dtype) for shape in ((rows, inputs), (rows, outputs), (outputs, inputs)))
    y, dx = torch.empty_like(dy), torch.empty_like(x)
    return median_seconds(lambda: torch.mm(x, weight.t(), out=y)) + median_seconds(lambda: torch.mm(dy, weight, out=dx))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], required=True)
    parser.add_argument("--shapes", type=json.loads, required=True)
    options = parser.parse_args()
    known: dict[tuple[int, int, int], float] = {}
    flops = seconds = 0.0
    for rows, inputs, outputs, times in options.shapes:
        key = (rows, inputs, outputs)
        if key not in known:
            known[key] = shape_seconds(*key, getattr(torch, options.dtype))
        flops += times * 4.0 * rows * inputs * outputs
        seconds += times * known[key]
    print(json.dumps({"flops_per_second": flops / seconds}))


if __name__ == "__main__":
    main()
