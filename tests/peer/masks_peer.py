#!/usr/bin/env python3
"""What lora-tokenize marks as learnt beside TRL's training templates, which have {% generation %} marks of their own.

    masks_peer.py --lora-tokenize PROGRAM

For each template that TRL ships with a training variant, and for conversations with thoughts, calls and several questions: where both
variants write the same text, every token that is learnt here must be learnt there, and what is learnt there alone must be the beginning
of a turn that the generation prompt writes. Prints how many conversations were compared, and how many texts differ (TRL's variants keep
thoughts that the models' own templates leave out). Exit code 1 for a difference.
"""

import argparse
import importlib.resources
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import tokenizers
from transformers import PreTrainedTokenizerFast

CALL = [{"type": "function", "function": {"name": "look", "arguments": {"place": "here", "n": 3}}}]
TOOLS = [{"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {"place": {"type": "string"}}}}}]
ASK, AGAIN = {"role": "user", "content": "Where is it?"}, {"role": "user", "content": "Thank you, and now?"}
SAID = {"role": "assistant", "content": "It is over there."}
THOUGHT = {"role": "assistant", "content": "It is over there.", "reasoning_content": "I must look first."}
WRITTEN = {"role": "assistant", "content": "<think>\nI must look first.\n</think>\n\nIt is over there."}
CALLED = {"role": "assistant", "content": "", "tool_calls": CALL}
THOUGHT_CALL = {"role": "assistant", "content": "", "reasoning_content": "I must look first.", "tool_calls": CALL}
RESULT = {"role": "tool", "content": "found", "name": "look"}
CONVERSATIONS = [
    [ASK, SAID], [ASK, SAID, AGAIN, SAID], [{"role": "system", "content": "Be brief."}, ASK, SAID, AGAIN, SAID, ASK, SAID],
    [ASK, THOUGHT], [ASK, THOUGHT, AGAIN, THOUGHT], [ASK, SAID, AGAIN, THOUGHT], [ASK, THOUGHT, AGAIN, SAID], [ASK, WRITTEN, AGAIN, WRITTEN],
    [ASK, CALLED, RESULT, SAID], [ASK, CALLED, RESULT, SAID, AGAIN, SAID], [ASK, THOUGHT_CALL, RESULT, THOUGHT],
    [ASK, THOUGHT_CALL, RESULT, THOUGHT, AGAIN, THOUGHT], [ASK, CALLED, RESULT, CALLED, RESULT, SAID],
]


def make_tokenizer(folder, sources):
    """Bytes, and everything that looks like a control token of a template as a token of its own."""
    names = {name for source in sources for name in re.findall(r"<[|｜][^<>\n'\"{}]*[|｜]>|</?s>|<(?:start|end)_of_turn>|\[/?INST\]|\[gMASK\]|<sop>|<bos>|<eos>", source)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={c: i for i, c in enumerate(sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()))}, merges=[]))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(sorted(names | {"<s>", "</s>"}))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), bos_token="<s>", eos_token="</s>")


def reference(tokenizer, template, row, **more):
    try:
        return tokenizer.apply_chat_template(row["messages"], tools=row.get("tools"), chat_template=template, return_dict=True, **more)
    except Exception:
        return None


def ours(program, folder, template, rows):
    (folder / "t.jinja").write_text(template, encoding="utf-8")
    found = []
    for row in rows:
        (folder / "in.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
        run = subprocess.run([program, "--model", folder, "--input", folder / "in.jsonl", "--output", folder / "out.jsonl", "--chat-template", folder / "t.jinja"],
                             capture_output=True, text=True, encoding="utf-8")
        found.append(json.loads((folder / "out.jsonl").read_text(encoding="utf-8")) if run.returncode == 0 else run.stderr.strip())
    return found


def differences(tokenizer, ids, mask, expected, prompts):
    """Tokens that one side alone learns. The beginning of a turn that a generation prompt writes is none."""
    wrong = [i for i in range(len(ids)) if mask[i] and not expected[i]]
    i = 0
    while i < len(ids):
        end = i
        while end < len(ids) and expected[end] and not mask[end]:
            end += 1
        if end > i:
            text = tokenizer.decode(ids[i:end])
            if not any(prompt.endswith(text) or text in prompt for prompt in prompts):
                wrong.extend(range(i, end))
        i = max(end, i + 1)
    return sorted(wrong)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lora-tokenize", required=True)
    parser.add_argument("--show", action="store_true", help="print each difference")
    arguments = parser.parse_args()
    folder = pathlib.Path(importlib.resources.files("trl") / "chat_templates")
    pairs = [(path, folder / f"{path.stem}_training.jinja") for path in sorted(folder.glob("*.jinja")) if (folder / f"{path.stem}_training.jinja").exists()]
    compared, other_text, refused, wrong = 0, 0, [], []
    for own, training in pairs:
        source, marked = own.read_text(encoding="utf-8"), training.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as scratch:
            scratch = pathlib.Path(scratch)
            tokenizer = make_tokenizer(scratch, [source, marked])
            rows = [{"messages": talk, **({"tools": TOOLS} if any("tool_calls" in m for m in talk) else {})} for talk in CONVERSATIONS]
            rows = [row for row in rows if reference(tokenizer, source, row) and reference(tokenizer, marked, row, return_assistant_tokens_mask=True)]
            for row, found in zip(rows, ours(arguments.lora_tokenize, scratch, source, rows), strict=True):
                expected = reference(tokenizer, marked, row, return_assistant_tokens_mask=True)
                if isinstance(found, str):
                    refused.append((own.stem, found))
                    continue
                assert found["input_ids"] == list(reference(tokenizer, source, row)["input_ids"]), (own.stem, row)
                if found["input_ids"] != list(expected["input_ids"]):
                    other_text += 1
                    continue
                compared += 1
                prompts = [tokenizer.apply_chat_template(row["messages"][:i], tools=row.get("tools"), chat_template=source, tokenize=False, add_generation_prompt=True)
                           for i, message in enumerate(row["messages"]) if message["role"] == "assistant"]
                bad = differences(tokenizer, found["input_ids"], found["mask"], list(expected["assistant_masks"]), prompts)
                if bad:
                    wrong.append((own.stem, row, tokenizer.decode([found["input_ids"][i] for i in bad]),
                                  "here" if found["mask"][bad[0]] else "there"))
    for name, message in refused:
        print(f"refused: {name}: {message}", file=sys.stderr)
    for name, row, text, side in wrong:
        print(f"{name}: learnt {side} alone: {text!r}" + (f"\n  {json.dumps(row)}" if arguments.show else ""), file=sys.stderr)
    print(f"{len(pairs)} pairs of templates: {compared} conversations compared, {other_text} with another text, {len(refused)} refused, {len(wrong)} differences")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
