"""Shows what must not grow: prints time and memory of lora-train for two sizes each of batch, data set and vocabulary.

python scaling.py --peer-python PYTHON      (creates the base models; the measured runs are lora-train's)
"""

import argparse
import sys
from dataclasses import replace

from frame import add_common_options, exit_code_of, whole_machine
from measure import rate
from processes import TrainingRun
from shapes import SHAPES
from sides import Bench, Case, Inputs, prepare, run_ours

STEPS = 4


def print_row(title: str, run: TrainingRun, weights: int) -> None:
    print(f"{title:44} {run.start_up:9.2f} s {rate(run):10.0f} {(run.peak_rss - weights) / 1e6:12.0f} MB", flush=True)


def run_and_print(bench: Bench, title: str, inputs: Inputs) -> None:
    print_row(title, run_ours(bench, inputs, STEPS), inputs.weights_bytes())


def batch_sizes(bench: Bench) -> None:
    """Expected: constant tokens/s, as time is linear in the tokens. Memory grows with the activations."""
    case = Case("vocabulary-8k", "all-linear", "a512", "float32")
    for batch_size in (2, 8):
        inputs = replace(prepare(bench, case, 2 * STEPS), batch_size=batch_size)
        run_and_print(bench, f"batch of {batch_size} rows of 512", inputs)


def data_set_sizes(bench: Bench) -> None:
    """Memory stays."""
    for num_batches in (50, 5000):
        inputs = prepare(bench, Case("tiny", "qv", "a512", "float32"), num_batches)
        run_and_print(bench, f"data set of {inputs.rows.stat().st_size / 1e6:.0f} MB", inputs)
        inputs.rows.unlink()


def vocabularies(bench: Bench) -> None:
    """Expected: constant memory beyond the weights."""
    for name in ("vocabulary-8k", "vocabulary-128k"):
        run_and_print(bench, SHAPES[name].title, prepare(bench, Case(name, "all-linear", "a512", "float32"), STEPS))


def main() -> int:
    parser = argparse.ArgumentParser(prog="scaling.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_options(parser)
    options = parser.parse_args()
    bench = whole_machine(options)
    print(f"{'':44} {'start':>11} {'tokens/s':>10} {'beyond weights':>15}")
    for part in (batch_sizes, data_set_sizes, vocabularies):
        part(bench)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
