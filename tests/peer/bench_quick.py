"""The benchmark in its quick form: both sides agree, the document is written, its GPU part is kept; and a disagreement fails.

python bench_quick.py --lora-train BIN --bench scripts/bench
"""

import argparse
import copy
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True


def check(holds: bool, what: str) -> None:
    if not holds:
        raise SystemExit(f"FAIL: {what}")


def run_quick(bench: Path, lora_train: Path, work: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-B", bench / "compare.py", "--quick", "--peer-python", sys.executable]
    command += ["--lora-train", lora_train, "--work", work, "--output", work / "benchmarks.md"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def check_document(text: str) -> None:
    rows = [line for line in text.splitlines() if line.startswith("| tiny, qv, b |")]
    check(len(rows) == 1, f"one row of the case, found {rows}")
    for heading in ("## float32", "## Start", "## GPU"):
        check(heading in text, f"'{heading}' in the document")
    check("kept words" in text, "the GPU part is kept")


def check_results(results: dict) -> None:
    (result,) = results["cases"]
    check(len(result["ours"]["metrics"]) == 3, "three steps")
    check(set(result["peer"]["calibration"]) == {"padded-sdpa", "single-eager"}, "both variants were tried")
    for side in ("ours", "peer"):
        check(result[side]["tokens_per_second"] > 0 and result[side]["start_up"] > 0, f"speed and start of {side}")
        check(result[side]["peak_rss"] > result["weights_bytes"], f"memory of {side}")


def check_disagreement(bench: Path, metrics: list[dict]) -> None:
    sys.path.insert(0, str(bench))
    from measure import Disagreement, check_agreement  # noqa: PLC0415

    check_agreement(metrics, metrics, "float32")
    changes = {"loss": 1.0001, "grad_norm": 1.0001, "num_input_tokens": 2}
    for key, factor in changes.items():
        other = copy.deepcopy(metrics)
        other[-1][key] *= factor
        try:
            check_agreement(other, metrics, "float32")
        except Disagreement:
            continue
        check(False, f"another {key} is a disagreement")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lora-train", type=Path, required=True)
    parser.add_argument("--bench", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lora-bench-") as folder:
        work = Path(folder)
        (work / "benchmarks.md").write_text("<!-- gpu: kept by scripts/bench -->\nkept words\n<!-- gpu: end -->\n", encoding="utf-8")
        done = run_quick(options.bench, options.lora_train, work)
        check(done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}")
        results = json.loads((work / "results.json").read_text(encoding="utf-8"))
        check_document((work / "benchmarks.md").read_text(encoding="utf-8"))
    check_results(results)
    check_disagreement(options.bench, results["cases"][0]["ours"]["metrics"])
    print(done.stdout)


if __name__ == "__main__":
    main()
