"""The peer of the comparison: transformers + PEFT in a plain training loop, without anything that costs time needlessly.

    python peft_train.py --model DIR --adapter DIR --rows ROWS.jsonl --batch-size 4 --steps 5 --dtype float32 \
        --attention sdpa --batching padded --learning-rate 1e-4 --output DIR

`--quantization nf4 | nf4-dq | fp4 | fp4-dq | int8` has bitsandbytes quantise the base while it is loaded.

Writes DIR/metrics.jsonl as lora-train does (step, loss, grad_norm, num_input_tokens, tokens_per_second; padding is
not counted), and DIR/peer.json with versions and the resident memory after the model is loaded.
`--batching padded` pads a batch to its longest document; `single` runs the documents one by one and accumulates the gradients.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import peft
import torch
import transformers
from peft import PeftModel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

IGNORED = -100
MAX_GRAD_NORM = 1.0


def read_documents(path: Path) -> list[tuple[list[int], list[int]]]:
    with path.open(encoding="utf-8") as file:
        return [(row["input_ids"], row["labels"]) for row in map(json.loads, file)]


def quantization_config(name: str, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    if name == "none":
        return None
    if name == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    kind, _, double = name.partition("-")
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_use_double_quant=double == "dq", bnb_4bit_compute_dtype=dtype
    )


def load_model(options: argparse.Namespace) -> PeftModel:
    """The base in `dtype` or quantised, the adapter in float32, which is PEFT's default. Always in training mode: in evaluation mode
    bitsandbytes repacks the weights for good on some processors."""
    dtype = getattr(torch, options.dtype)
    base = AutoModelForCausalLM.from_pretrained(
        options.model,
        dtype=dtype,
        attn_implementation=options.attention,
        quantization_config=quantization_config(options.quantization, dtype),
    )
    return PeftModel.from_pretrained(base, options.adapter, is_trainable=True).train()


def rectangle(documents: list[tuple[list[int], list[int]]]) -> dict[str, torch.Tensor]:
    """The documents padded to the longest. There is no mask where nothing is padded, as that is fastest."""
    longest = max(len(ids) for ids, _ in documents)
    ids = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in documents])
    labels = torch.tensor([labels + [IGNORED] * (longest - len(labels)) for _, labels in documents])
    lengths = torch.tensor([len(ids) for ids, _ in documents])
    mask = torch.arange(longest) < lengths[:, None]
    return {"input_ids": ids, "labels": labels} | ({} if mask.all() else {"attention_mask": mask.long()})


def backward(model: PeftModel, documents: list, batching: str) -> float:
    """Accumulates the gradients of the batch's mean loss over its supervised tokens; returns that loss."""
    supervised = sum(label != IGNORED for _, labels in documents for label in labels[1:])
    parts = [documents] if batching == "padded" else [[document] for document in documents]
    total = 0.0
    for part in parts:
        loss = model(**rectangle(part), num_items_in_batch=supervised, use_cache=False).loss
        loss.backward()
        total += loss.item()
    return total


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def train(model: PeftModel, documents: list, options: argparse.Namespace) -> None:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=options.learning_rate, weight_decay=0.0, fused=True)
    with (options.output / "metrics.jsonl").open("w", encoding="utf-8") as metrics:
        for step in range(options.steps):
            start = time.perf_counter()
            batch = documents[step * options.batch_size : (step + 1) * options.batch_size]
            loss = backward(model, batch, options.batching)
            grad_norm = torch.nn.utils.clip_grad_norm_(parameters, MAX_GRAD_NORM).item()
            optimizer.step()
            optimizer.zero_grad()
            seconds = time.perf_counter() - start
            tokens = sum(len(ids) for ids, _ in batch)
            row = {"step": step + 1, "loss": loss, "grad_norm": grad_norm, "num_input_tokens": tokens}
            metrics.write(json.dumps(row | {"tokens_per_second": tokens / seconds}) + "\n")
            metrics.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "adapter", "rows", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], required=True)
    parser.add_argument("--quantization", choices=["none", "nf4", "nf4-dq", "fp4", "fp4-dq", "int8"], default="none")
    parser.add_argument("--attention", choices=["sdpa", "eager"], required=True)
    parser.add_argument("--batching", choices=["padded", "single"], required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    options = parser.parse_args()
    documents = read_documents(options.rows)
    model = load_model(options)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    facts = {"versions": versions, "threads": torch.get_num_threads(), "loaded_bytes": resident_bytes()}
    (options.output / "peer.json").write_text(json.dumps(facts), encoding="utf-8")
    train(model, documents, options)


if __name__ == "__main__":
    main()
