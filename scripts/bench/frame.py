"""What the benchmarks have in common around their measurements: common options, how they end, and how their tables are kept."""

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path

from measure import Disagreement, say
from processes import RunFailed, exit_on_sigterm
from report import table, with_section
from sides import Bench


def names_of(known):
    """Parses a comma-separated list of known names."""

    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"found '{name}', expected one of {', '.join(known)}")
        return names

    return parse


def available_memory() -> int:
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    return int(re.search(r"MemAvailable:\s*(\d+) kB", text).group(1)) * 1024


def add_common_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peer-python", default=os.environ.get("LORA_PEER_PYTHON", "python3"), help="or $LORA_PEER_PYTHON")
    parser.add_argument("--lora-train", type=Path, default=Path(os.environ.get("LORA_TRAIN", "build/release/bin/lora-train")))
    parser.add_argument("--work", type=Path, default=Path("build/bench"), help="folder of models and runs (default: %(default)s)")


def whole_machine(options: argparse.Namespace) -> Bench:
    """The settings that use every core and nine tenths of the free memory."""
    threads = len(os.sched_getaffinity(0))
    return Bench(options.peer_python, options.lora_train, options.work, threads, int(0.9 * available_memory()), shrink=1)


def exit_code_of(benchmark: Callable[[], int]) -> int:
    """Runs it. 1 with a message if a run failed or the two sides disagree; SIGTERM also stops the process that is being measured."""
    exit_on_sigterm()
    try:
        return benchmark()
    except (RunFailed, Disagreement, FileNotFoundError) as failure:
        say(f"error: {failure}")
        return 1


def keep_table(output: Path, section: str, explanation: str, header: list[str], rows: list[list[str]]) -> None:
    """Prints the table and puts it, with its explanation, into a section of the document."""
    text = f"{explanation}\n\n{table(header, rows)}".rstrip("\n")
    print(text, flush=True)
    old = output.read_text(encoding="utf-8") if output.exists() else ""
    output.write_text(with_section(old, section, text), encoding="utf-8")
