"""Runs two trainings that take turns step by step, so that the ratio of their speeds does not depend on what else the machine does."""

import os
import resource
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from processes import POLL_SECONDS, RunFailed, TrainingRun, completed_rows, start_training


@dataclass
class Side:
    """How a training process is started (start_training); it writes a row after each step."""

    command: list[str]
    output: Path
    environment: dict[str, str]
    memory_limit: int


class Turns:
    """A training process that is stopped except during its turns."""

    def __init__(self, side: Side) -> None:
        self.output = side.output
        self.process = start_training(side.command, side.output, side.environment, side.memory_limit)
        self.process.send_signal(signal.SIGSTOP)
        self.usage: resource.struct_rusage | None = None
        self.seconds: list[float] = []

    def has_ended(self) -> bool:
        if self.usage is None:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid != 0:
                self.process.returncode, self.usage = os.waitstatus_to_exitcode(status), usage
        return self.usage is not None

    def num_rows(self) -> int:
        metrics = self.output / "metrics.jsonl"
        return metrics.read_bytes().count(b"\n") if metrics.exists() else 0

    def take(self, number: int) -> None:
        """Lets it run until its step `number` is done. The time until it is stopped counts, because it has begun its next step by then."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGCONT)
        while not self.has_ended() and self.num_rows() < number:
            time.sleep(POLL_SECONDS)
        if not self.has_ended():
            self.process.send_signal(signal.SIGSTOP)
        self.seconds.append(time.monotonic() - begin)
        if self.has_ended() and self.num_rows() < number:
            completed_rows(self.process, self.output)
            raise RunFailed(f"{self.process.args[0]} ended before step {number}")

    def finish(self) -> TrainingRun:
        """Lets it run to its end. The speeds in the rows are those of its turns; the first has its start in it."""
        if not self.has_ended():
            self.process.send_signal(signal.SIGCONT)
        while not self.has_ended():
            time.sleep(POLL_SECONDS)
        rows = completed_rows(self.process, self.output)
        for row, seconds in zip(rows, self.seconds, strict=True):
            row["tokens_per_second"] = row["num_input_tokens"] / seconds
        used = self.usage
        return TrainingRun(rows, self.seconds[0], used.ru_maxrss * 1024, used.ru_utime + used.ru_stime, observed_over_reported=1.0)

    def kill(self) -> None:
        if not self.has_ended():
            self.process.kill()


def run_in_turns(first: Side, second: Side, steps: int) -> tuple[TrainingRun, TrainingRun]:
    """Both at the same time, one of them always stopped; which one begins alternates from step to step."""
    sides: list[Turns] = []
    try:
        for side in (first, second):
            sides.append(Turns(side))
        for number in range(1, steps + 1):
            for side in sides if number % 2 == 1 else reversed(sides):
                side.take(number)
        return sides[0].finish(), sides[1].finish()
    except BaseException:
        for side in sides:
            side.kill()
        raise
