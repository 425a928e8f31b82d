"""Writes tests/data/generate: the results of transformers' generate() and its logits processors for fixed inputs.

    python generate.py [--case NAME]...    greedy.json (all cases without --case), sampling.safetensors, VERSIONS.json

greedy.json: for each case of tests/data/llama and tests/data/families a list of {"prompt", "adapter" (whether PEFT's adapter is on),
"repetition_penalty", "output_ids" (NEW_TOKENS of them, no EOS), "gap" (the smallest distance of the two largest scores at any
step)}. Each prompt runs alone, in float32, eager attention, one thread, with transformers' cache; dynamic RoPE forgets
longer prompts that came before. Models with random weights have near-ties and repeat themselves: of CANDIDATES random prompts
of each length whose completions have many different tokens, the one with the largest gap is kept.

sampling.safetensors: "logits" [rows, vocabulary] and, for setting i of the metadata's "settings" (a JSON list of
GenerationConfig's keys), "probabilities.<i>": softmax of the processed logits. "seen" (JSON): the ids of each row's text
so far.
"""

import argparse
import json
import random
from pathlib import Path

import torch
from family_cases import FAMILY_CASES
from llama_cases import write_json
from llama_golden import folder_of, versions
from llama_reference import be_quiet, forget_longer_documents, load_base, one_thread
from peft import PeftModel
from safetensors.torch import save_file
from transformers import GenerationConfig

DATA = Path(__file__).resolve().parents[2] / "tests" / "data" / "generate"
CASES = ["gqa", "tied", "llama3", "biases", "odd", "linear", "dynamic", "yarn", *FAMILY_CASES]
NEW_TOKENS = 64
CANDIDATES = 24
DISTINCT_TOKENS = 16
# (length of the prompt, adapter, repetition penalty); dynamic RoPE was trained for 16: shorter, at, and longer
PROMPTS = [(1, True, 1.0), (5, True, 1.3), (16, True, 1.0), (23, True, 1.2), (9, False, 1.0)]

SETTINGS = [
    {"temperature": 1.0},
    {"temperature": 0.3},
    {"temperature": 2.5},
    {"temperature": 1.0, "top_k": 1},
    {"temperature": 0.8, "top_k": 7},
    {"temperature": 1.0, "top_k": 500},
    {"temperature": 1.0, "top_p": 0.05},
    {"temperature": 1.4, "top_p": 0.6},
    {"temperature": 1.0, "top_p": 0.999},
    {"temperature": 1.0, "min_p": 0.02},
    {"temperature": 1.7, "min_p": 0.5},
    {"temperature": 1.0, "min_p": 1.0},
    {"temperature": 1.0, "repetition_penalty": 1.5},
    {"temperature": 1.0, "repetition_penalty": 0.6},
    {"temperature": 0.7, "top_k": 20, "top_p": 0.8, "min_p": 0.1, "repetition_penalty": 1.2},
    {"temperature": 1.6, "top_k": 9, "top_p": 0.5},
    {"temperature": 1.3, "top_p": 0.7, "min_p": 0.2},
]


def greedy(model: torch.nn.Module, prompt: list[int], penalty: float) -> tuple[list[int], float]:
    """The new tokens, and the smallest gap between the two largest scores."""
    forget_longer_documents(model)
    config = GenerationConfig(max_new_tokens=NEW_TOKENS, do_sample=False, repetition_penalty=penalty, eos_token_id=None, pad_token_id=0,
                              return_dict_in_generate=True, output_scores=True)  # fmt: skip
    output = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), generation_config=config)
    gaps = [(top[0] - top[1]).item() for top in (scores[0].topk(2).values for scores in output.scores)]
    return output.sequences[0, len(prompt) :].tolist(), min(gaps)


def best_prompt(model: torch.nn.Module, draw: random.Random, length: int, penalty: float) -> dict:
    vocabulary = model.config.vocab_size
    rows = []
    for _ in range(CANDIDATES):
        prompt = [draw.randrange(vocabulary) for _ in range(length)]
        ids, gap = greedy(model, prompt, penalty)
        rows.append({"prompt": prompt, "repetition_penalty": penalty, "output_ids": ids, "gap": gap})
    needed = min(DISTINCT_TOKENS, max(len(set(row["output_ids"])) for row in rows))  # some models only repeat a few tokens
    return max((row for row in rows if len(set(row["output_ids"])) >= needed), key=lambda row: row["gap"])


def greedy_rows(name: str) -> list[dict]:
    folder = folder_of(name)
    model = load_base(folder / "model")
    # no EOS of any config may end a row
    model.generation_config.eos_token_id = model.config.eos_token_id = None
    draw = random.Random(name)
    rows = [best_prompt(model, draw, length, penalty) | {"adapter": False} for length, on, penalty in PROMPTS if not on]
    adapted = PeftModel.from_pretrained(model, folder / "adapter").eval()
    rows += [best_prompt(adapted, draw, length, penalty) | {"adapter": True} for length, on, penalty in PROMPTS if on]
    print(f"{name:8} gaps {' '.join(format(row['gap'], '.1e') for row in rows)}, "
          f"distinct tokens {' '.join(str(len(set(row['output_ids']))) for row in rows)}")  # fmt: skip
    return rows


def processed(model: torch.nn.Module, setting: dict, seen: list[list[int]], logits: torch.Tensor) -> torch.Tensor:
    """The logits after the list of processors that generate() builds from these keys."""
    config = GenerationConfig(do_sample=True, **({"top_k": 0, "top_p": 1.0} | setting))
    processors = model._get_logits_processor(generation_config=config, input_ids_seq_length=1)
    rows = [processors(torch.tensor([ids]), logits[i : i + 1].clone()) for i, ids in enumerate(seen)]
    return torch.softmax(torch.cat(rows), dim=-1)


def sampling_tensors() -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn((4, 60), generator=generator) * torch.tensor([0.5, 2.0, 4.0, 8.0]).unsqueeze(1)
    logits[1, 10:20] = logits[1, 10]  # equal ones, where the filters cut
    draw = random.Random(6)
    seen = [[draw.randrange(60) for _ in range(length)] for length in (1, 3, 12, 40)]
    model = load_base(folder_of("gqa") / "model")
    tensors = {f"probabilities.{i}": processed(model, setting, seen, logits) for i, setting in enumerate(SETTINGS)}
    return tensors | {"logits": logits}, {"format": "pt", "settings": json.dumps(SETTINGS), "seen": json.dumps(seen)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=CASES, help="only this case (repeatable); the rows of the others are kept")
    chosen = parser.parse_args().case or CASES
    be_quiet()
    DATA.mkdir(parents=True, exist_ok=True)
    before = {} if chosen == CASES else json.loads((DATA / "greedy.json").read_text())
    with one_thread(), torch.no_grad():
        cases = {name: greedy_rows(name) if name in chosen else before[name] for name in CASES if name in chosen or name in before}
        tensors, metadata = sampling_tensors()
    lines = [f'"{name}": [\n' + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]" for name, rows in cases.items()]
    (DATA / "greedy.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    save_file(tensors, DATA / "sampling.safetensors", metadata=metadata)
    write_json(DATA / "VERSIONS.json", versions())


if __name__ == "__main__":
    main()
