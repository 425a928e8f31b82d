"""Writes tests/data/llama/full/expected_master_weights.json: 20 steps of the case `full` in bfloat16 with float32 master weights, as a plain
PyTorch loop over transformers' model, and how far the masters have moved.

The model is bfloat16; AdamW updates float32 copies, whose gradients are the model's, and the model's weights are the rounded copies.

    python master_weights.py
"""

import json

import torch
from llama_golden import DATA
from llama_reference import accumulate, be_quiet, documents_of, epoch_steps, load_trainable, make_optimizer, make_schedule, one_thread, read_json

STEPS = 20


def with_masters(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The model's weights become bfloat16; the result has their float32 copies."""
    model.to(torch.bfloat16)
    return {name: parameter.detach().float() for name, parameter in model.named_parameters()}


def train(model: torch.nn.Module, run: dict, documents: list) -> tuple[list[dict], dict]:
    start = with_masters(model)
    halves = dict(model.named_parameters())
    masters = {name: torch.nn.Parameter(value.clone()) for name, value in start.items()}
    optimizer = make_optimizer(model, run["training"])
    replacements = {halves[name]: master for name, master in masters.items()}
    for group in optimizer.param_groups:
        group["params"] = [replacements[parameter] for parameter in group["params"]]
    schedule = make_schedule(optimizer, run["training"])
    steps_of_epoch = epoch_steps(documents, run["training"])
    steps = []
    for step in range(STEPS):
        loss, _ = accumulate(model, steps_of_epoch[step % len(steps_of_epoch)])
        for name, master in masters.items():
            master.grad = halves[name].grad.float()
        norm = torch.nn.utils.clip_grad_norm_(list(masters.values()), run["training"]["max_grad_norm"])
        optimizer.step()
        schedule.step()
        model.zero_grad()
        with torch.no_grad():
            for name, master in masters.items():
                halves[name].copy_(master)
        steps.append({"loss": loss, "grad_norm": norm.item()})
    moved = {name: (master.detach() - start[name]).norm().item() for name, master in masters.items()}
    return steps, moved


def main() -> None:
    folder = DATA / "full"
    run = read_json(folder / "run.json")
    run["training"]["max_steps"] = STEPS
    be_quiet()
    with one_thread():
        steps, moved = train(load_trainable(folder, run), run, documents_of(folder, run, "train"))
    text = json.dumps({"steps": steps, "moved": moved}, separators=(",", ":"))
    (folder / "expected_master_weights.json").write_text(text + "\n", encoding="utf-8")
    print(f"loss {steps[0]['loss']:.4f} -> {steps[-1]['loss']:.4f}")


if __name__ == "__main__":
    main()
