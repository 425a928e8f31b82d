"""Runs a training process and measures it from outside, in the same way for both sides."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.01


class RunFailed(Exception):
    """A process exited with a code other than 0; the message ends with its last lines."""


@dataclass
class TrainingRun:
    rows: list[dict]  # metrics.jsonl, one row per step
    start_up: float  # seconds from the start of the process to its first step
    peak_rss: int  # bytes, mapped files included
    cpu_seconds: float  # of the whole process, all threads
    observed_over_reported: float  # seconds from the first row to the last by our clock, divided by those that the rows report

    def seconds(self, first: int) -> float:
        """Total of the steps from `first` on, counted from 1."""
        return sum(step_seconds(row) for row in self.rows[first - 1 :])

    def tokens(self, first: int) -> int:
        return sum(row["num_input_tokens"] for row in self.rows[first - 1 :])


def step_seconds(row: dict) -> float:
    return row["num_input_tokens"] / row["tokens_per_second"]


def read_rows(path: Path) -> list[dict]:
    """The complete rows of a metrics.jsonl file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]


def exit_on_sigterm() -> None:
    """Makes SIGTERM raise SystemExit, so that a benchmark that is stopped also stops its child process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def watch(process: subprocess.Popen, metrics: Path) -> tuple[list[float], resource.struct_rusage]:
    """Waits for the end; returns the time of each row (time.monotonic) and the resources that the process used.

    The rows are counted by their line ends, so nothing is parsed while the process runs.
    """
    arrivals: list[float] = []
    size = 0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        now = time.monotonic()
        if metrics.exists() and metrics.stat().st_size != size:
            content = metrics.read_bytes()
            size = len(content)
            arrivals += [now] * (content.count(b"\n") - len(arrivals))
        if pid != 0:
            process.returncode = os.waitstatus_to_exitcode(status)
            return arrivals, usage
        time.sleep(POLL_SECONDS)


def start_training(command: list[str], output: Path, environment: dict[str, str], memory_limit: int) -> subprocess.Popen:
    """Starts `command`, which writes output/metrics.jsonl; what it prints goes into output.log. This process must stay small: a child's
    peak starts at the size of its parent at the fork (Linux keeps the larger of both over exec)."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    with output.with_suffix(".log").open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=os.environ | environment)
    # A run that does not fit into memory fails by itself, before the system kills another process.
    resource.prlimit(process.pid, resource.RLIMIT_DATA, (memory_limit, memory_limit))
    return process


def completed_rows(process: subprocess.Popen, output: Path) -> list[dict]:
    """The rows of a process that has ended; raises RunFailed with its last lines if it failed."""
    rows = read_rows(output / "metrics.jsonl")
    if process.returncode != 0 or not rows:
        log = output.with_suffix(".log")
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-6:])
        raise RunFailed(f"{Path(process.args[0]).name} exited with code {process.returncode} (log: {log}):\n{tail}")
    return rows


def run_training(command: list[str], output: Path, environment: dict[str, str], memory_limit: int) -> TrainingRun:
    """Runs `command` to its end (start_training)."""
    start = time.monotonic()
    process = start_training(command, output, environment, memory_limit)
    try:
        arrivals, usage = watch(process, output / "metrics.jsonl")
    except BaseException:
        process.kill()
        raise
    rows = completed_rows(process, output)
    reported = sum(step_seconds(row) for row in rows[1:])
    return TrainingRun(
        rows=rows,
        start_up=arrivals[0] - start - step_seconds(rows[0]),
        peak_rss=usage.ru_maxrss * 1024,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        observed_over_reported=(arrivals[-1] - arrivals[0]) / reported if reported > 0 else 1.0,
    )


def run_for_output(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)
    if done.returncode != 0:
        raise RunFailed(f"{' '.join(command[:2])} exited with code {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout
