#!/usr/bin/env python3
"""Writes tests/data/chat: how transformers renders conversations with the templates in tests/data/chat/templates, and the masks of
the assistant's tokens.

    conversations.json   {"conversations": [{"messages", "tools"?}], "tokens": values of bos_token, … in templates, "now": the clock}
    rendered.json        {template: [[text without, text with generation prompt] of each conversation]}; instead of a text
                         {"raised": message} after raise_exception, {"failed": true} where Python fails
    masks.json           [{"template", "tokenizer" (tests/data/tokenizer_json), "conversation", "input_ids", "mask"}] from
                         return_assistant_tokens_mask

The templates are written for these tests: they have the formats of the published families and use the same constructs.

Needs: transformers, tokenizers, jinja2 (scripts/golden/requirements.txt). Usage: chat_templates.py [tests/data folder]
"""

import datetime
import json
import pathlib
import sys

import jinja2
import tokenizers
import transformers
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

NOW = datetime.datetime(2025, 3, 9, 4, 5, 6)
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def call(name, arguments, identifier="abcdefghi"):
    return {"type": "function", "id": identifier, "function": {"name": name, "arguments": arguments}}


TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "Weather of a place.\n Metric <units> & \"quotes\".",
        "parameters": {"type": "object", "properties": {
            "place": {"type": "string", "description": "München, 東京"}, "days": {"type": "integer", "nullable": True},
            "unit": {"enum": ["C", "F"]}, "tags": {"type": "array", "items": {"type": ["string", "null"]}}},
            "required": ["place"]}}},
    {"type": "function", "function": {"name": "stop", "description": "", "parameters": {"type": "object", "properties": {}}, "return": None}},
]
SYSTEM = {"role": "system", "content": "  Be brief. \n"}
CONVERSATIONS = [
    {"messages": [{"role": "user", "content": "Hello"}]},
    {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi there."}]},
    {"messages": [SYSTEM, {"role": "user", "content": "Hello\n"}, {"role": "assistant", "content": "\n\tHi. "},
                  {"role": "user", "content": ""}, {"role": "assistant", "content": ""}]},
    {"messages": [SYSTEM, {"role": "user", "content": "What's \"this\"? <|im_end|> {{ 1 + 1 }} {% x %}"},
                  {"role": "assistant", "content": "<think>\n\nhm\n</think>\n\nIt's éà 漢字 🙂\u00a0\u2003"}]},
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "reasoning_content": "because\n"},
                  {"role": "user", "content": "c"}, {"role": "assistant", "content": "<think>x</think>d", "thinking": None}]},
    {"messages": [SYSTEM, {"role": "user", "content": "Weather?"},
                  {"role": "assistant", "content": None, "tool_calls": [call("get_weather", {"place": "Köln", "days": 2, "x": [1.5, True, None]})]},
                  {"role": "tool", "content": "{\"t\": 3}", "tool_call_id": "abcdefghi", "name": "get_weather"},
                  {"role": "assistant", "content": "Three degrees."}, {"role": "user", "content": "Thanks"}], "tools": TOOLS},
    {"messages": [{"role": "user", "content": "Two"},
                  {"role": "assistant", "content": "Both:", "tool_calls": [call("get_weather", {"place": "A"}), call("stop", {}, "123456789")]},
                  {"role": "tool", "content": "1", "tool_call_id": "abcdefghi"}, {"role": "tool", "content": "", "tool_call_id": "123456789"},
                  {"role": "assistant", "content": "Done"}], "tools": TOOLS},
    {"messages": [{"role": "user", "content": "t"}], "tools": TOOLS},
    {"messages": [{"role": "assistant", "content": "I begin."}, {"role": "user", "content": "No"}]},
    {"messages": [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]},
    {"messages": [SYSTEM]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": " look "}, {"type": "image"}]},
                  {"role": "assistant", "content": [{"type": "text", "text": "a cat"}]}]},
    {"messages": [{"role": "system", "content": "Instructions /no_think here"}, {"role": "user", "content": "line\r\nline\n\nline"},
                  {"role": "assistant", "content": "\n\nanswer"}, {"role": "tool", "content": "result"}], "tools": []},
    {"messages": [{"role": "user"}, {"role": "narrator", "content": "x"}]},
]


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def rendered(template, conversation, generation_prompt):
    messages = [{key: value for key, value in message.items() if value is not None} for message in conversation["messages"]]
    try:
        texts, _ = chat_template_utils.render_jinja_template(
            [messages], tools=conversation.get("tools"), chat_template=template, add_generation_prompt=generation_prompt, **TOKENS)
        return texts[0]
    except jinja2.exceptions.TemplateError as error:
        return {"raised": str(error)} if type(error) is jinja2.exceptions.TemplateError else {"failed": True}
    except Exception:
        return {"failed": True}


def masks(data, templates):
    for name in ("llama3", "qwen2", "smollm", "llama2", "phi3", "gemma"):
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(data / "tokenizer_json" / f"{name}.json"), **TOKENS)
        for template in ("phi4", "smollm3"):
            for index, conversation in enumerate(CONVERSATIONS):
                if not isinstance(rendered(templates[template], conversation, False), str):
                    continue
                out = tokenizer.apply_chat_template(conversation["messages"], tools=conversation.get("tools"), chat_template=templates[template],
                                                    return_dict=True, return_assistant_tokens_mask=True)
                yield {"template": template, "tokenizer": name, "conversation": index, "input_ids": list(out["input_ids"]),
                       "mask": list(out["assistant_masks"])}


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n", encoding="utf-8")


def main():
    data = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2] / "tests/data")
    chat_template_utils.datetime = Clock
    templates = {path.stem: path.read_text(encoding="utf-8") for path in sorted((data / "chat/templates").glob("*.jinja"))}
    versions = {module.__name__: module.__version__ for module in (transformers, tokenizers, jinja2)}
    write(data / "chat/conversations.json",
          {"versions": versions, "tokens": TOKENS, "now": NOW.isoformat(), "conversations": CONVERSATIONS})
    write(data / "chat/rendered.json", {name: [[rendered(text, conversation, prompt) for prompt in (False, True)]
                                               for conversation in CONVERSATIONS] for name, text in templates.items()})
    write(data / "chat/masks.json", list(masks(data, templates)))


if __name__ == "__main__":
    main()
