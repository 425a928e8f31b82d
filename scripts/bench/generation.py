"""Measures lora-generate with a random model whose base is quantised in each way. See --help.

Exit code: 0 done, 1 a run failed, 2 usage.
"""

import argparse
import json
import resource
import sys
from dataclasses import replace
from pathlib import Path

from frame import add_common_options, exit_code_of, keep_table, names_of, whole_machine
from large import large_model
from processes import run_for_output
from shapes import SHAPES
from sides import QUANTIZATIONS, Bench

PROMPT_TOKENS = 16
HEADER = ["base", "tokens/s", "ratio to bfloat16"]
EXPLANATION = (
    "{title}'s shape with random weights, greedy decoding of one prompt of {prompt} tokens on one thread: the tokens of a completion of {most} "
    "less those of one of {fewest}, divided by the difference of the processor times, the best of {rounds} runs that alternate. Written by "
    "`scripts/bench/generation.sh`."
)


def processor_seconds(options: argparse.Namespace, bench: Bench, model: Path, prompts: Path, kind: str, tokens: int) -> float:
    command = [str(options.lora_train.with_name("lora-generate")), "--model", str(model), "--tokenizer", str(options.tokenizer)]
    command += ["--prompts", str(prompts), "--dtype", "bfloat16", "--device", "cpu", "--batch-size", "1", "--quiet"]
    command += ["--max-new-tokens", str(tokens)] + ([] if kind == "none" else ["--quantize", kind])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run_for_output(command, bench.environment())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def rates(options: argparse.Namespace, bench: Bench, model: Path, prompts: Path) -> dict[str, float]:
    """Tokens per second of each kind. Loading and the prompt cancel out."""
    counts = (options.fewest, options.most)
    best = {(kind, count): float("inf") for kind in options.kinds for count in counts}
    for _ in range(options.rounds):
        for kind, count in best:
            best[kind, count] = min(best[kind, count], processor_seconds(options, bench, model, prompts, kind, count))
    return {kind: (options.most - options.fewest) / (best[kind, options.most] - best[kind, options.fewest]) for kind in options.kinds}


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="generation.sh", description="Measures generation with a random model and quantised bases.")
    add_common_options(parser)
    parser.add_argument("--model", choices=SHAPES, default="tinyllama-1.1b")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--kinds", type=names_of(QUANTIZATIONS), default=list(QUANTIZATIONS), help=", ".join(QUANTIZATIONS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fewest", type=int, default=4)
    parser.add_argument("--most", type=int, default=36)
    parser.add_argument("--output", type=Path, default=Path("docs/quantization.md"))
    return parser.parse_args()


def main() -> int:
    options = read_options()
    bench = replace(whole_machine(options), threads=1)  # the processor time of one thread does not depend on what else runs
    shape = SHAPES[options.model]
    bench.work.mkdir(parents=True, exist_ok=True)
    prompts = bench.work / "generation.jsonl"
    prompts.write_text(json.dumps({"input_ids": [3 + 7 * i for i in range(PROMPT_TOKENS)]}) + "\n", encoding="utf-8")
    found = rates(options, bench, large_model(bench, options.model), prompts)
    plain = found.get("none")
    names = {"none": "bfloat16"}
    rows = [[names.get(kind, kind), f"{rate:.1f}", "–" if plain is None else f"{rate / plain:.2f}"] for kind, rate in found.items()]
    facts = {"title": shape.title, "prompt": PROMPT_TOKENS, "rounds": options.rounds, "most": options.most, "fewest": options.fewest}
    keep_table(options.output, "measured-generation", EXPLANATION.format(**facts), HEADER, rows)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
