"""Renders docs/benchmarks.md from the results file. The parts between markers (KEPT_SECTIONS) are kept unchanged."""

import platform
import re
from pathlib import Path

from shapes import SHAPES
from workloads import WORKLOADS

KEPT_SECTIONS = {  # name in the markers, title
    "tokenizers": "Tokenizers",
    "gpu": "GPU",
    "memory": "Memory estimate",
    "memory-long": "Memory estimate of long runs",
    "deterministic": "Deterministic mode",
    "diffusion": "Stable Diffusion",
}
NOT_MEASURED = "Not measured yet."
VECTOR_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "asimd", "bf16")

INTRODUCTION = (
    "# Benchmarks\n\n"
    "lora-train compared with transformers + PEFT: the same random weights in real shapes, the same rows in the same batches, the same "
    "initial adapter (r 16), AdamW, no dropout, no gradient checkpointing. Absolute figures depend on the machine and on what else runs "
    "on it; the ratios come from runs that alternate in one session. "
    "Written by `scripts/bench/run.sh`.\n"
)

LEGEND = (
    "tokens/s are input tokens without padding, without the first step: the median over the rounds. PEFT is a plain loop "
    "(scripts/bench/peft_train.py) in the variant that a short calibration found fastest: batches padded, or documents one by one "
    "(single), with attention sdpa or eager; quantised bases by bitsandbytes. Memory is the peak of the resident set minus the size of the weights' file, in GB. "
    "Differences of loss and grad_norm are the largest of all steps, relative; the benchmark fails above {limits}. "
    "GEMM is the fraction that lora-train reaches of the rate of torch.mm at the model's shapes, measured in the same round, with "
    "4N + 6P + 6·s·d·L FLOP per token and the head counted for supervised tokens only.\n"
)

START_UP = (
    "Seconds from the start of the process to its first step: the time of the first row in metrics.jsonl minus the duration of that step.\n"
)


def cpu_info(text: str) -> tuple[str, list[str]]:
    """Model name and relevant vector extensions of the processor, from /proc/cpuinfo."""
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    known = flags.group(1).split() if flags else []
    return (name.group(1) if name else platform.machine()), [flag for flag in VECTOR_FLAGS if flag in known]


def machine_line(threads: int) -> str:
    name, flags = cpu_info(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    memory = re.search(r"MemTotal:\s*(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
    return f"{name}, {threads} threads on both sides, {int(memory.group(1)) / 2**20:.0f} GiB; {', '.join(flags)}"


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def case_title(case: dict) -> str:
    kind = "" if case["quantization"] == "none" else f", {case['quantization']}"
    return f"{SHAPES[case['model']].title}, {case['targets']}, {case['workload']}{kind}"


def case_row(result: dict) -> list[str]:
    case, ours, peer, differences = (result[key] for key in ("case", "ours", "peer", "differences"))
    low, high = min(result["ratios"]), max(result["ratios"])
    return [
        case_title(case),
        f"{ours['tokens_per_second']:.0f}",
        f"{peer['tokens_per_second']:.0f} ({peer['variant']})",
        f"**{result['ratio']:.2f}** ({low:.2f} – {high:.2f})",
        f"{ours['beyond_weights'] / 1e9:.2f}",
        f"{peer['beyond_weights'] / 1e9:.2f}",
        f"**{result['memory_ratio']:.2f}**",
        f"{differences['loss']:.0e}",
        f"{differences['grad_norm']:.0e}",
        f"{100 * result['gemm_fraction']['supervised_head']:.0f} %",
    ]


CASE_HEADER = ["", "tokens/s", "PEFT", "ratio", "memory", "PEFT", "ratio", "loss ±", "grad_norm ±", "GEMM"]


def left_out(results: list[dict]) -> str:
    """Names the variants of the peer that did not fit into memory: they might have been faster."""
    notes = []
    for result in results:
        missing = [name for name, found in result["peer"]["calibration"].items() if found["peak_rss"] is None]
        if missing:
            notes.append(
                f"{case_title(result['case'])}: PEFT's {', '.join(missing)} did not fit into {result['memory_limit'] / 1e9:.0f} GB.\n"
            )
    return "".join(notes)


def dtype_section(dtype: str, results: list[dict]) -> str:
    rates = sorted(result["gemm_flops_per_second"] / 1e9 for result in results)
    span = f"{rates[0]:.0f}" if round(rates[0]) == round(rates[-1]) else f"{rates[0]:.0f} to {rates[-1]:.0f}"
    rows = table(CASE_HEADER, [case_row(result) for result in results])
    return f"## {dtype}\n\n{rows}\ntorch.mm: {span} GFLOP/s.\n{left_out(results)}"


def start_up_section(start_up: dict, results: list[dict]) -> str:
    cases = {"tiny (2 layers, 64 wide)": (start_up["ours"], start_up["peer"])}
    for result in results:
        title = f"{SHAPES[result['case']['model']].title}, {result['case']['dtype']}"
        cases.setdefault(title, (result["ours"]["start_up"], result["peer"]["start_up"]))
    rows = [[title, f"{ours:.2f}", f"{peer:.2f}", f"{peer / ours:.1f}"] for title, (ours, peer) in cases.items()]
    return f"## Start\n\n{START_UP}\n{table(['', 'lora-train', 'PEFT', 'ratio'], rows)}"


def markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}: kept by scripts/bench -->", f"<!-- {name}: end -->"


def kept_text(old: str, name: str) -> str:
    """The text between the markers."""
    begin, end = markers(name)
    inside = old.partition(begin)[2].partition(end)
    return inside[0].strip() if inside[1] else NOT_MEASURED


def kept_section(name: str, text: str) -> str:
    begin, end = markers(name)
    return f"## {KEPT_SECTIONS[name]}\n\n{begin}\n{text}\n{end}\n"


def with_section(document: str, name: str, text: str) -> str:
    """The document with `text` between the markers; a new section is appended."""
    begin, end = markers(name)
    before, found, rest = document.partition(begin)
    if not found:
        return document.rstrip("\n") + "\n\n" + kept_section(name, text)
    return f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}"


def limits(tolerances: dict[str, dict]) -> str:
    return ", ".join(f"{values['loss']:.0e} and {values['grad_norm']:.0e} ({dtype})" for dtype, values in tolerances.items())


def render(results: dict, old: str) -> str:
    """The whole document; `old` is its previous text."""
    cases = results["cases"]
    workloads = "".join(f"- {name}: {workload.title}, batch {workload.batch_size}\n" for name, workload in WORKLOADS.items())
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    facts = f"Machine: {results['machine']}.\nVersions: {versions}.\nCommand: `{results['command']}`\n"
    parts = [INTRODUCTION, facts, workloads, LEGEND.format(limits=limits(results["tolerances"]))]
    for dtype in sorted({result["case"]["dtype"] for result in cases}, reverse=True):
        parts.append(dtype_section(dtype, [result for result in cases if result["case"]["dtype"] == dtype]))
    parts.append(start_up_section(results["start_up"], cases))
    parts += [kept_section(name, kept_text(old, name)) for name in KEPT_SECTIONS]
    return "\n".join(parts)
