"""The two sides of the comparison, and how each is started on a case."""

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from processes import TrainingRun, run_for_output, run_training
from shapes import LORA_ALPHA, LORA_RANK, SHAPES, TARGETS
from workloads import WORKLOADS, Step, write_rows

HERE = Path(__file__).resolve().parent
LEARNING_RATE = 1e-4


@dataclass(frozen=True)
class Variant:
    """A way to run the peer."""

    batching: str  # padded, single
    attention: str  # sdpa, eager

    def __str__(self) -> str:
        return f"{self.batching}-{self.attention}"


# How the base is quantised while it is loaded: lora-train's model.quantization.
QUANTIZATIONS = {
    "none": None,
    "nf4": {"type": "nf4"},
    "nf4-dq": {"type": "nf4", "double_quant": True},
    "fp4": {"type": "fp4"},
    "fp4-dq": {"type": "fp4", "double_quant": True},
    "int8": {"type": "int8"},
}
VARIANTS = {str(v): v for v in (Variant(b, a) for b in ("padded", "single") for a in ("sdpa", "eager"))}


@dataclass(frozen=True)
class Case:
    model: str
    targets: str
    workload: str
    dtype: str
    quantization: str = "none"  # a name of QUANTIZATIONS

    def __str__(self) -> str:
        return f"{self.model} {self.targets} {self.workload} {self.dtype}" + ("" if self.quantization == "none" else f" {self.quantization}")


@dataclass
class Bench:
    """Settings shared by all cases."""

    peer_python: str
    lora_train: Path
    work: Path
    threads: int
    memory_limit: int  # bytes of private memory that a process may have
    shrink: int  # divides the documents' lengths

    def environment(self) -> dict[str, str]:
        return {"OMP_NUM_THREADS": str(self.threads), "MKL_NUM_THREADS": str(self.threads), "HF_HUB_OFFLINE": "1"}


@dataclass
class Inputs:
    """The files of a case, and the batches of its steps."""

    case: Case
    model: Path
    adapter: Path
    rows: Path
    steps: list[Step]
    batch_size: int

    def weights_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.model.glob("*.safetensors"))


def fingerprint(value) -> str:
    """A name for files created from `value`: another value gives another folder, so nothing stale is used."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def prepare(bench: Bench, case: Case, num_steps: int) -> Inputs:
    """Creates the base model and the adapter unless they exist, and the rows."""
    shape = SHAPES[case.model]
    folders = {name: bench.work / name for name in ("models", "adapters", "rows")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    made_from = [shape.config(), (HERE / "prepare.py").read_text(encoding="utf-8")]
    model = folders["models"] / f"{case.model}-{case.dtype}-{fingerprint(made_from)}"
    adapter = folders["adapters"] / f"{case.model}-{case.targets}-{fingerprint([*made_from, LORA_RANK, LORA_ALPHA, TARGETS])}"
    if not (model.exists() and adapter.exists()):
        config = model.with_suffix(".config.json")
        config.write_text(json.dumps(shape.config()), encoding="utf-8")
        print(f"creating {model.name} and {adapter.name}", file=sys.stderr)
        command = [bench.peer_python, str(HERE / "prepare.py"), "--config", str(config), "--dtype", case.dtype, "--model", str(model)]
        command += ["--targets", *TARGETS[case.targets], "--rank", str(LORA_RANK), "--alpha", str(LORA_ALPHA), "--adapter", str(adapter)]
        run_for_output(command, bench.environment())
    rows = folders["rows"] / f"{case.model}-{case.workload}.jsonl"
    steps = write_rows(rows, case.workload, shape.vocabulary, num_steps, bench.shrink)
    return Inputs(case, model, adapter, rows, steps, WORKLOADS[case.workload].batch_size)


def run_config(inputs: Inputs, num_steps: int, output: Path) -> dict:
    """The config with which lora-train does the same as peft_train.py."""
    quantization = QUANTIZATIONS[inputs.case.quantization]
    return {
        "model": {"path": str(inputs.model.resolve()), "dtype": inputs.case.dtype, "device": "cpu"}
        | ({"quantization": quantization} if quantization else {}),
        "adapter": {"peft_type": "LORA", "init_from": str(inputs.adapter.resolve())},
        "data": {
            "train": [{"path": str(inputs.rows.resolve()), "format": "tokens"}],
            "max_length": 4096,
            "shuffle": False,
            "packing": False,
        },
        "training": {
            "max_steps": num_steps,
            "per_device_train_batch_size": inputs.batch_size,
            "learning_rate": LEARNING_RATE,
            "lr_scheduler_type": "constant",
            "weight_decay": 0.0,
            "max_grad_norm": 1.0,
            "logging_steps": 1,
        },
        "output_dir": str(output.resolve()),
    }


def run_ours(bench: Bench, inputs: Inputs, num_steps: int) -> TrainingRun:
    output = bench.work / "runs" / "ours"
    output.parent.mkdir(parents=True, exist_ok=True)
    config = output.with_suffix(".json")
    config.write_text(json.dumps(run_config(inputs, num_steps, output), indent=2), encoding="utf-8")
    return run_training([str(bench.lora_train), "--config", str(config)], output, bench.environment(), bench.memory_limit)


def run_peer(bench: Bench, inputs: Inputs, variant: Variant, num_steps: int) -> tuple[TrainingRun, dict]:
    """The run, and the content of its peer.json."""
    output = bench.work / "runs" / "peer"
    command = [bench.peer_python, str(HERE / "peft_train.py"), "--model", str(inputs.model), "--adapter", str(inputs.adapter)]
    command += ["--rows", str(inputs.rows), "--batch-size", str(inputs.batch_size), "--steps", str(num_steps)]
    command += ["--dtype", inputs.case.dtype, "--quantization", inputs.case.quantization, "--attention", variant.attention, "--batching", variant.batching]
    command += ["--learning-rate", str(LEARNING_RATE), "--output", str(output)]
    run = run_training(command, output, bench.environment(), bench.memory_limit)
    return run, json.loads((output / "peer.json").read_text(encoding="utf-8"))


def gemm_rate(bench: Bench, inputs: Inputs) -> float:
    """FLOP/s of torch.mm at the shapes of an average step; above 2048 rows the rate does not change."""
    tokens = sum(step.tokens() for step in inputs.steps) // len(inputs.steps)
    supervised = sum(step.supervised for step in inputs.steps) // len(inputs.steps)
    shapes = SHAPES[inputs.case.model].gemms(min(tokens, 2048), min(supervised, 2048))
    command = [bench.peer_python, str(HERE / "gemm_rate.py"), "--dtype", inputs.case.dtype, "--shapes", json.dumps(shapes)]
    return json.loads(run_for_output(command, bench.environment()))["flops_per_second"]
