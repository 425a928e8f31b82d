#!/usr/bin/env python3
"""Makes tests/data/chat/trl_messages.json: what TRL's SFTTrainer makes of prompt_completion rows whose prompt and completion are messages.

    {"versions", "now", "settings": of the tokenizer, "templates": {name: source}, "cases": [{"template", "rows": [{"row", "ids", "labels"}]}]}

The tokenizer is tests/data/tokenizer_json/llama3.json. Templates that are not among tests/data/chat/templates are in the file: one that
writes a prompt differently once an answer follows it, and one without a generation prompt. Templates that name the date get the one of
chat_templates.py, in "now".

Needs: scripts/golden/requirements.txt, trl, datasets. Usage: trl_messages.py [tests/data folder]
"""

import json
import os
import pathlib
import shutil
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import datasets  # noqa: E402
import transformers  # noqa: E402
import trl  # noqa: E402
from transformers.utils import chat_template_utils  # noqa: E402

import chat_templates  # noqa: E402

SETTINGS = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
FILES = ["qwen2", "qwen3", "llama3", "gemma3", "phi4", "smollm3", "zephyr"]
OWN = {
    # An empty thought ends the generation prompt, and is not written before an answer.
    "thinking": "{% for m in messages %}<{{ m.role }}>{{ m.content }}<|eot_id|>{% endfor %}"
                "{% if add_generation_prompt %}<assistant><think></think>{% endif %}",
    "no-generation-prompt": "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
    "variables": "{% if style is defined %}[{{ style }}]{% endif %}{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}"
                 "<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function | tojson }}{% endfor %}<|eot_id|>{% endfor %}"
                 "{% if add_generation_prompt %}<assistant>{% endif %}",
}
TOOLS = [{"type": "function", "function": {"name": "f", "description": "finds", "parameters": {"type": "object", "properties": {}}}}]


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


PLAIN = [
    {"prompt": [user("Name a river.")], "completion": [assistant("The Rhine.")]},
    {"prompt": [{"role": "system", "content": "Be brief."}, user("hi"), assistant("hello"), user("the green stone?")],
     "completion": [assistant("is green <|eot_id|> and\n")]},
    {"prompt": [user("a")], "completion": [assistant("b"), user("c"), assistant("d")]},
    {"prompt": [user("river")], "completion": [assistant("")]},
]
TOOL_ROWS = [
    {"prompt": [user("find it")], "completion": [{"role": "assistant", "content": "", "tool_calls": [
        {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}]}, {"role": "tool", "content": "7"}, assistant("It is 7.")],
     "tools": TOOLS},
    {"prompt": [user("find it")], "completion": [assistant("no")], "tools": json.dumps(TOOLS), "chat_template_kwargs": {"style": "short"}},
]


def prepared(tokenizer, rows):
    """Row by row: datasets would give all rows the columns of all others."""
    config = transformers.LlamaConfig(vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    model = transformers.LlamaForCausalLM(config)
    for row in rows:
        with tempfile.TemporaryDirectory() as folder:
            trainer = trl.SFTTrainer(model=model, processing_class=tokenizer, train_dataset=datasets.Dataset.from_list([row]),
                                     args=trl.SFTConfig(output_dir=folder, report_to="none", max_length=None, use_cpu=True, bf16=False))
            made = trainer.train_dataset[0]
            yield {"row": row, "ids": made["input_ids"], "labels": made["labels"]}


def main():
    data = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2] / "tests/data")
    chat_template_utils.datetime = chat_templates.Clock
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(data / "tokenizer_json/llama3.json", pathlib.Path(folder) / "tokenizer.json")
        (pathlib.Path(folder) / "tokenizer_config.json").write_text(json.dumps(SETTINGS))
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    sources = {name: (data / f"chat/templates/{name}.jinja").read_text(encoding="utf-8") for name in FILES}
    cases = []
    for name, source in {**sources, **OWN}.items():
        tokenizer.chat_template = source
        rows = PLAIN + (TOOL_ROWS if name in ("variables", "qwen3") else [])
        made = []
        for row in rows:
            try:
                made += prepared(tokenizer, [row])
            except Exception as error:  # a template that refuses the row
                print(name, type(error).__name__, error, file=sys.stderr)
        cases.append({"template": name, "rows": made})
    result = {"versions": {"transformers": transformers.__version__, "trl": trl.__version__}, "now": chat_templates.NOW.isoformat(),
              "settings": SETTINGS, "templates": OWN, "cases": cases}
    (data / "chat/trl_messages.json").write_text(json.dumps(result, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
