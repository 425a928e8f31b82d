#!/usr/bin/env python3
"""Writes tests/data/chat/builtin.json: what transformers renders with the built-in chat templates of src/tokenizer/builtin_templates.cpp,
in the form that lora-train saves: where the tokenizer puts no BOS before a text, the template sets bos_token to an empty text.

    {"conversations": [messages], "bos": {name: [[text, text with generation prompt] of each conversation]}, "no_bos": the same}

"bos" is with tests/data/tokenizer_json/llama3.json (BOS <|begin_of_text|>, EOS <|eot_id|>), "no_bos" with qwen2.json (both <|endoftext|>).

Needs: transformers, jinja2 (scripts/golden/requirements.txt). Usage: builtin_templates.py [tests/data folder]
"""

import json
import pathlib
import re
import sys

from transformers.utils import chat_template_utils

ROOT = pathlib.Path(__file__).parents[2]
NO_BOS = "{%- set bos_token = '' %}"
CONVERSATIONS = [
    [{"role": "user", "content": "Hello"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Hello\n"}, {"role": "assistant", "content": "Hi. "},
     {"role": "user", "content": "Bye"}],
    [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}, {"role": "user", "content": "three"},
     {"role": "assistant", "content": "four"}],
]


def sources():
    text = (ROOT / "src/tokenizer/builtin_templates.cpp").read_text(encoding="utf-8")
    parts = dict(re.findall(r'const char\* (k\w+) = R"\((.*?)\)";', text, re.DOTALL))
    parts.update(re.findall(r'const char\* (k\w+) = "(.*?)";', text))
    for name, begin, body in re.findall(r'\{"(\w+)", (""|k\w+), (k\w+)\}', text):
        yield name, parts.get(begin, "") + parts[body]


def rendered(source, tokens):
    return [[chat_template_utils.render_jinja_template([messages], chat_template=source, add_generation_prompt=prompt, **tokens)[0][0]
             for prompt in (False, True)] for messages in CONVERSATIONS]


def main():
    data = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tests/data"
    llama3 = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
    qwen2 = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    result = {"conversations": CONVERSATIONS, "bos": {name: rendered(source, llama3) for name, source in sources()},
              "no_bos": {name: rendered(NO_BOS + source, qwen2) for name, source in sources()}}
    (data / "chat/builtin.json").write_text(json.dumps(result, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
