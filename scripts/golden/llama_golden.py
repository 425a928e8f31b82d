"""Writes tests/data/llama, families, classification, quantized/training and prompts: for each case of llama_cases.py, family_cases.py,
classification_cases.py, quantized_cases.py and prompt_cases.py its inputs and the results of transformers + PEFT.

    python llama_golden.py [--case NAME]...     write (all cases without --case)
    python llama_golden.py --stability          how far a change of every weight by one part in 10^7 moves the results,
                                                which must be well below the tolerances of the tests
"""

import argparse
import json
import platform
import tempfile
from pathlib import Path

import numpy
import peft
import safetensors
import torch
import transformers
from adalora import is_adalora, is_adalora_model, orthogonality_loss, rank_pattern
from classification_cases import CLASSIFICATION_CASES, FULL_CLASSIFICATION_CASES
from family_cases import FAMILY_CASES, FULL_FAMILY_CASES
from llama_cases import CASES, Case, write_inputs, write_json
from llama_reference import (
    LabelledDocument, base_of, be_quiet, documents_of, evaluate, is_classification, load_trainable, logits_of, mean_loss, one_thread,
    read_json, train, trained_tensors,
)  # fmt: skip
from llama_rope import rope_table
from lora_start import effective_weights, is_started
from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as DEFAULT_TARGETS
from prompt_cases import PROMPT_CASES
from quantized import write_versions
from quantized_cases import QUANTIZED_CASES
from safetensors.torch import save_file
from start_cases import START_CASES

DATA = Path(__file__).resolve().parents[2] / "tests" / "data" / "llama"
LABELLED_CASES = CLASSIFICATION_CASES | FULL_CLASSIFICATION_CASES
ALL_CASES = CASES | START_CASES | FAMILY_CASES | FULL_FAMILY_CASES | LABELLED_CASES | QUANTIZED_CASES | PROMPT_CASES


def folder_of(name: str) -> Path:
    kinds = {"classification": LABELLED_CASES, "quantized/training": QUANTIZED_CASES, "prompts": PROMPT_CASES, "llama": CASES | START_CASES}
    return DATA.parent / next((kind for kind, cases in kinds.items() if name in cases), "families") / name


def check_against_own_loss(model, document) -> None:
    """transformers' own loss for the same labels, which shifts and averages by itself."""
    if isinstance(document, LabelledDocument):
        return
    with torch.no_grad():
        theirs = logits_of(model, document, labels=torch.tensor([document.labels])).loss.item()
        ours = document.loss(model).item() / document.num_supervised()
        ours += orthogonality_loss(model).item() if is_adalora_model(model) else 0
    if abs(theirs - ours) > 1e-6 * abs(theirs):
        raise RuntimeError(f"the reference's loss is {ours}, transformers' own is {theirs}")


@torch.no_grad()
def forward_tensors(model, document, prefix: str, every_layer: bool = True) -> dict[str, torch.Tensor]:
    output = logits_of(model, document, output_hidden_states=True)
    last = len(output.hidden_states) - 1
    tensors = {f"{prefix}.hidden.{i}": hidden[0].clone() for i, hidden in enumerate(output.hidden_states) if every_layer or i == last}
    return tensors | {f"{prefix}.logits": output.logits[0].clone()}


@torch.no_grad()
def check_padded(model, documents) -> None:
    """Checks that the documents have the same logits in one padded batch, as in transformers' Trainer."""
    longest = max(len(document.ids) for document in documents)
    pad = model.config.pad_token_id
    if pad is None:
        return

    def column(values, filler: int) -> torch.Tensor:
        return torch.tensor([value + [filler] * (longest - len(value)) for value in values])

    inputs = {"input_ids": column([d.ids for d in documents], pad), "attention_mask": column([[1] * len(d.ids) for d in documents], 0)}
    if any(document.types is not None for document in documents):
        inputs["token_type_ids"] = column([d.types or [0] * len(d.ids) for d in documents], 0)
    together = model(**inputs).logits
    alone = torch.cat([logits_of(model, document).logits for document in documents])
    if (together - alone).abs().max() > 1e-5 * alone.abs().max():
        raise RuntimeError("padding changes transformers' logits")


def num_trainable(model) -> int:
    if isinstance(model, peft.PeftModel):
        return model.get_nb_trainable_parameters()[0]
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def reference_of(folder: Path, tests_model: bool = True) -> tuple[dict, dict[str, torch.Tensor]]:
    """The expected results of the case in `folder`: (expected.json, expected.safetensors)."""
    run = read_json(folder / "run.json")
    rows, held_out = documents_of(folder, run, "train"), documents_of(folder, run, "eval")
    base = base_of(folder, run)
    tensors = forward_tensors(base, rows[0], "base") if tests_model and not is_started(run) else {}
    base_documents = evaluate(base, documents_of(folder, run | {"adapter": None}, "eval"))
    if is_classification(run) and run["adapter"] is not None:
        del tensors["base.logits"], base_documents[:]  # of a random head
    model = load_trainable(folder, run)
    if is_classification(run):
        check_padded(model, held_out)
    for document in rows[:3]:
        check_against_own_loss(model, document)
    if is_started(run):
        tensors |= {f"start.{key}": value for key, value in trained_tensors(model).items()}
    elif run["adapter"] is not None:
        tensors |= forward_tensors(model, rows[0], "adapted", every_layer=tests_model)
    start_documents = evaluate(model, held_out)
    result = train(model, run, rows, held_out)
    documents = evaluate(model, held_out)
    if is_started(run):
        tensors |= {f"effective.{key}": value for key, value in effective_weights(model).items()}
    else:
        tensors |= {f"grad.{key}": value for key, value in result.first_gradients.items()}
        tensors |= {f"trained.{key}": value for key, value in trained_tensors(model).items()}
    expected = {
        "num_trainable": num_trainable(model),
        "steps": result.steps,
        "eval": result.evals,
        "eval_loss": mean_loss(documents),
        "documents": documents,
        "start_documents": start_documents,
    } | ({"base_documents": base_documents} if base_documents else {})
    if is_adalora(run):
        expected["rank_pattern"] = rank_pattern(model)
    return expected, tensors


def lines_of(expected: dict) -> str:
    """JSON with a line for each key and each step: half the size of an indented one."""
    compact = dict(separators=(",", ":"))
    values = []
    for key, value in expected.items():
        is_list = isinstance(value, list) and len(value) > 0
        text = "[\n" + ",\n".join(json.dumps(entry, **compact) for entry in value) + "\n]" if is_list else json.dumps(value, **compact)
        values.append(f'"{key}":{text}')
    return "{\n" + ",\n".join(values) + "\n}\n"


def write_case(name: str, case: Case) -> None:
    folder = folder_of(name)
    write_inputs(case, folder)
    expected, tensors = reference_of(folder, case.tests_model)
    if name in FAMILY_CASES or name in LABELLED_CASES:
        expected["default_target_modules"] = DEFAULT_TARGETS.get(case.model_type, [])
    clipped = sum(step["grad_norm"] > case.training["max_grad_norm"] for step in expected["steps"])
    if not 0 < clipped:
        raise RuntimeError(f"{name}: no step is clipped; choose a smaller max_grad_norm")
    (folder / "expected.json").write_text(lines_of(expected), encoding="utf-8")
    save_file(tensors, folder / "expected.safetensors", metadata={"format": "pt"})
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    first, last = expected["steps"][0], expected["steps"][-1]
    print(f"{name:15} loss {first['loss']:.4f} -> {last['loss']:.4f}, eval {expected['eval_loss']:.4f}, "
          f"grad_norm {min(s['grad_norm'] for s in expected['steps']):.3f}..{max(s['grad_norm'] for s in expected['steps']):.3f}, "
          f"{clipped} of {len(expected['steps'])} steps clipped, {size >> 10} KiB")  # fmt: skip


def nudge(model: torch.nn.Module, size: float) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in filter(torch.is_floating_point, model.parameters()):  # not the bytes of packed weights
            parameter.mul_(1 + size * torch.randn(parameter.shape, generator=generator))


def largest_differences(ours: tuple, theirs: tuple) -> str:
    (a, a_tensors), (b, b_tensors) = ours, theirs
    relative = {key: max(abs(x[key] - y[key]) / abs(y[key]) for x, y in zip(a.steps, b.steps)) for key in ("loss", "grad_norm")}
    tensors = max((a_tensors[key] - b_tensors[key]).abs().max().item() for key in b_tensors)
    return f"loss {relative['loss']:.1e}, grad_norm {relative['grad_norm']:.1e} (relative), tensors {tensors:.1e} (absolute)"


def train_variant(folder: Path, attention: str, nudge_size: float):
    run = read_json(folder / "run.json")
    model = load_trainable(folder, run, attention)
    nudge(model, nudge_size)
    result = train(model, run, documents_of(folder, run, "train"), documents_of(folder, run, "eval"))
    return result, trained_tensors(model)


def print_stability(name: str, case: Case) -> None:
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / name
        write_inputs(case, folder)
        plain = train_variant(folder, "eager", 0)
        print(f"{name:15} sdpa   {largest_differences(train_variant(folder, 'sdpa', 0), plain)}")
        print(f"{name:15} nudged {largest_differences(train_variant(folder, 'eager', 1e-7), plain)}")


def versions() -> dict:
    modules = (torch, transformers, peft, safetensors, numpy)
    return {"python": platform.python_version()} | {module.__name__: module.__version__ for module in modules}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=list(ALL_CASES), help="only this case (repeatable)")
    parser.add_argument("--stability", action="store_true", help="write nothing; print how well conditioned the cases are")
    options = parser.parse_args()
    chosen = {name: ALL_CASES[name] for name in options.case or ALL_CASES}
    be_quiet()
    with one_thread():
        for name, case in chosen.items():
            print_stability(name, case) if options.stability else write_case(name, case)
        if not options.stability:
            (DATA / "rope.json").write_text(json.dumps(rope_table(), separators=(",", ":")) + "\n", encoding="utf-8")
            write_json(DATA / "VERSIONS.json", versions())
            write_versions(DATA.parent / "quantized" / "training", "transformers", "peft", "bitsandbytes")


if __name__ == "__main__":
    main()
