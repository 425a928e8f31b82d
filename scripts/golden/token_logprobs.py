"""Writes tests/data/llama/<case>/token_logprobs.jsonl: the log-probability of each token of eval.jsonl given those before it, by
transformers + PEFT with the case's adapter, computed in float64 from the float32 weights: transformers' float32 results differ
by up to 1e-5, which is too near the test's tolerance. Rows are as `lora-eval --token-logprobs` writes them, with `correct`: how
many supervised tokens were the likeliest."""

import json
from pathlib import Path

import torch
from llama_reference import IGNORED, Document, be_quiet, documents_of, load_trainable, logits_of, one_thread, read_json

DATA = Path(__file__).resolve().parents[2] / "tests" / "data" / "llama"
CASES = ("gqa", "tied", "dynamic")


@torch.no_grad()
def row_of(model, index: int, document: Document) -> dict:
    ids = torch.tensor(document.ids)
    log_probs = torch.log_softmax(logits_of(model, document).logits[0].double(), dim=-1)
    of_token = log_probs[:-1].gather(1, ids[1:, None]).squeeze(1)
    supervised = torch.tensor(document.labels[1:]) != IGNORED
    correct = (log_probs[:-1].argmax(1) == ids[1:])[supervised].sum().item()
    loss = -of_token[supervised].double().mean().item() if supervised.any() else None
    return {"index": index, "input_ids": document.ids, "logprobs": [None, *of_token.tolist()], "loss": loss, "correct": correct}


def main() -> None:
    be_quiet()
    with one_thread():
        for case in CASES:
            folder = DATA / case
            run = read_json(folder / "run.json")
            model = load_trainable(folder, run).eval().double()
            rows = [row_of(model, i, document) for i, document in enumerate(documents_of(folder, run, "eval"))]
            (folder / "token_logprobs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
