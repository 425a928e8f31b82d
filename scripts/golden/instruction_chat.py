#!/usr/bin/env python3
"""Writes tests/data/chat/instruction.json: instruction rows as a user's turn and an answer, by transformers' apply_chat_template.

    {"template", "rows": [{"row": {"instruction", "input"?, "output"}, "input_ids", "mask"}]}

The user's turn is the instruction and its input, one line each: LLaMA-Factory's rule for Alpaca rows. The tokenizer is
tests/data/tokenizer_json/llama3.json.

Needs: transformers, tokenizers (scripts/golden/requirements.txt). Usage: instruction_chat.py [tests/data folder]
"""

import json
import pathlib
import sys

from transformers import PreTrainedTokenizerFast

TEMPLATE = ("{% for m in messages %}{{ '<|begin_of_text|>' if loop.first }}{{ m.role }}: {% if m.role == 'assistant' %}"
            "{% generation %}{{ m.content }}<|eot_id|>{% endgeneration %}{% else %}{{ m.content }}<|eot_id|>{% endif %}\n{% endfor %}")
ROWS = [
    {"instruction": "Name a river.", "output": "The Rhine."},
    {"instruction": "Translate.", "input": "the green stone\nand the river", "output": "der grüne Stein"},
    {"instruction": "  Keep the spaces ", "input": "", "output": " as they are\n"},
]


def main():
    data = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2] / "tests/data")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(data / "tokenizer_json/llama3.json"), chat_template=TEMPLATE)
    rows = []
    for row in ROWS:
        asked = "\n".join(part for part in (row["instruction"], row.get("input", "")) if part)
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": row["output"]}]
        made = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
        rows.append({"row": row, "input_ids": list(made["input_ids"]), "mask": list(made["assistant_masks"])})
    text = json.dumps({"template": TEMPLATE, "rows": rows}, ensure_ascii=True, separators=(",", ":"))
    (data / "chat/instruction.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
