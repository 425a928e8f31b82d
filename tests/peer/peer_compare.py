"""Trains one case twice, with lora-train and with transformers + PEFT, and compares what came out.

    python peer_compare.py --lora-train BIN --case gqa --data tests/data/llama

Exit status: 0 equal within the tolerances, 1 not.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts" / "golden"))
sys.dont_write_bytecode = True

from llama_reference import (  # noqa: E402
    base_of, be_quiet, documents_of, evaluate, is_classification, load_trainable, mean_loss, one_thread, read_json, train, trained_tensors,
)  # fmt: skip
from lora_start import effective_weights, is_started, take_signs  # noqa: E402
from peft import PeftModel  # noqa: E402
from prompt_cases import is_prompt  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForSequenceClassification  # noqa: E402

RELATIVE = {"loss": 1e-5, "learning_rate": 1e-5, "grad_norm": 2e-4, "eval_loss": 1e-5, "eval_accuracy": 0, "eval_f1": 1e-12,
            "eval_matthews_correlation": 1e-12, "eval_pearson": 1e-5, "eval_spearmanr": 1e-12}  # fmt: skip
TENSOR_ABSOLUTE = 1e-5


class Table:
    """The largest difference of each kind, and whether it is within its tolerance."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, float, str]] = []

    def add(self, what: str, differences: dict[str, float], tolerance: float) -> None:
        where = max(differences, key=differences.get)
        self.rows.append((what, differences[where], tolerance, where))

    def failed(self) -> bool:
        return any(not difference <= tolerance for _, difference, tolerance, _ in self.rows)  # NaN fails

    def print(self) -> None:
        print(f"{'what':36} {'largest':>10} {'allowed':>10}       where")
        for what, difference, tolerance, where in self.rows:
            print(f"{what:36} {difference:10.2e} {tolerance:10.0e} {'ok  ' if difference <= tolerance else 'FAIL'}  {where}")


def relative(ours: float, theirs: float) -> float:
    return abs(ours - theirs) / max(abs(theirs), 1e-12)


def run_lora_train(binary: Path, folder: Path, output: Path) -> list[dict]:
    """Runs the real program on the case; returns its metrics.jsonl."""
    command = [binary, "--config", folder / "run.json", "--set", f"output_dir={output}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{done.stdout}\nlora-train ended with exit status {done.returncode}")
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def compare_rows(table: Table, kind: str, keys: list[str], ours: list[dict], theirs: list[dict]) -> None:
    found, expected = [row["step"] for row in ours], [row["step"] for row in theirs]
    if found != expected:
        raise SystemExit(f"metrics.jsonl: found {kind} rows of steps {found}, expected {expected}")
    for key in keys:
        differences = {f"step {b['step']}": relative(a[key], b[key]) for a, b in zip(ours, theirs)}
        table.add(f"{key} (relative)", differences, RELATIVE[key])


def compare_counts(ours: list[dict], theirs: list[dict]) -> None:
    for a, b in zip(ours, theirs):
        for key in ("num_tokens", "num_input_tokens"):
            if a[key] != b[key]:
                raise SystemExit(f"metrics.jsonl, step {b['step']}, {key}: found {a[key]}, expected {b[key]}")


def compare_tensors(table: Table, ours: dict, theirs: dict) -> None:
    if set(ours) != set(theirs):
        raise SystemExit(f"trained tensors: missing {sorted(set(theirs) - set(ours))}, unexpected {sorted(set(ours) - set(theirs))}")
    for key in theirs:
        if ours[key].shape != theirs[key].shape or ours[key].dtype != theirs[key].dtype:
            raise SystemExit(f"{key}: found {ours[key].dtype} {list(ours[key].shape)}, "
                             f"expected {theirs[key].dtype} {list(theirs[key].shape)}")  # fmt: skip
    # softmax does not see a bias of the keys: what an optimiser makes of it is rounding alone
    seen = [key for key in theirs if not key.endswith(".self.key.bias")]
    table.add("trained tensors (absolute)", {key: (ours[key] - theirs[key]).abs().max().item() for key in seen}, TENSOR_ABSOLUTE)


def compare_effective(table: Table, folder: Path, run: dict, result, model) -> None:
    """What the weights come to: signs of singular vectors are free, and our file fits the untouched base."""
    base = base_of(folder, run).state_dict()
    ours, theirs = effective_weights(result), effective_weights(model)
    differences = {key: ((base | ours)[key] - (base | theirs)[key]).abs().max().item() for key in ours | theirs}
    table.add("effective weights (absolute)", differences, TENSOR_ABSOLUTE)


def load_result(folder: Path, run: dict, output: Path):
    """Our result as its users load it; a warning of PEFT's about keys or config is a failure."""
    if run["adapter"] is None:
        return base_of(folder, run, path=output)
    base = base_of(folder, run)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(missing adapter keys|[Uu]nexpected key|not found in|initialize .*Config).*")
        return PeftModel.from_pretrained(base, output)


def load_merged(binary: Path, folder: Path, run: dict, output: Path):
    """What lora-merge makes of a classifier, opened by its own config.json alone."""
    merged = output.with_name("merged")
    command = [binary.with_name("lora-merge"), "--model", folder / run["model"]["path"], "--adapter", output, "--output", merged,
               "--dtype", "float32"]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    model, found = AutoModelForSequenceClassification.from_pretrained(merged, output_loading_info=True)
    if found["missing_keys"]:
        raise SystemExit(f"the merged model lacks {sorted(found['missing_keys'])}")
    return model.eval()


def compare_case(binary: Path, folder: Path, output: Path) -> Table:
    run = read_json(folder / "run.json")
    held_out = documents_of(folder, run, "eval")
    metrics = run_lora_train(binary, folder, output)
    steps, evals = ([row for row in metrics if key in row] for key in ("loss", "eval_loss"))

    model, table = load_trainable(folder, run), Table()
    if run["adapter"] is not None and run["adapter"].get("init_lora_weights") == "lora_ga":
        difference = take_signs(model, load_file(output / "adapter_model.safetensors"))
        table.add("start without signs (absolute)", {"any module": difference}, TENSOR_ABSOLUTE)
    theirs = train(model, run, documents_of(folder, run, "train"), held_out)

    compare_rows(table, "training", ["loss", "learning_rate", "grad_norm"], steps, theirs.steps)
    compare_counts(steps, theirs.steps)
    compare_rows(table, "evaluation", [key for key in theirs.evals[0] if key != "step"], evals, theirs.evals)
    name = "model.safetensors" if run["adapter"] is None else "adapter_model.safetensors"
    result = load_result(folder, run, output)
    if is_started(run):
        compare_effective(table, folder, run, result, model)
    elif not is_prompt(run):  # a file has what a network makes of the trained tensors
        compare_tensors(table, load_file(output / name), trained_tensors(model))
    reloaded = mean_loss(evaluate(result, held_out))
    table.add("eval_loss of the result, reloaded", {name: relative(evals[-1]["eval_loss"], reloaded)}, RELATIVE["eval_loss"])
    if is_classification(run) and run["adapter"] is not None:
        merged = mean_loss(evaluate(load_merged(binary, folder, run, output), held_out))
        table.add("eval_loss of the result, merged", {name: relative(evals[-1]["eval_loss"], merged)}, RELATIVE["eval_loss"])
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lora-train", type=Path, required=True, help="the program")
    parser.add_argument("--case", required=True, help="folder in --data")
    parser.add_argument("--data", type=Path, required=True, help="folder of the cases")
    options = parser.parse_args()
    be_quiet()
    with one_thread(), tempfile.TemporaryDirectory(prefix="lora-peer-") as parent:
        table = compare_case(options.lora_train, (options.data / options.case).resolve(), Path(parent) / "out")
    table.print()
    return 1 if table.failed() else 0


if __name__ == "__main__":
    sys.exit(main())
