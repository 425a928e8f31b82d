#!/usr/bin/env python3
"""Makes tests/data/chat/jinja_values.json: what every filter, test and method returns for values of each kind, by jinja2 in
transformers' environment.

    {"versions", "values": [source of a value], "expressions": [source, of v], "results": [[text of each expression] of each value]}

In place of a text stands null for what jinja2 fails at, and false for what has no fixed text (an address in memory, a range) or is not
a text of transformers' (markup). The expressions are those of tests/peer/jinja_peer.py; every filter and test that jinja2 has must
be among them, or in UNSUPPORTED.

Needs: transformers, jinja2 (scripts/golden/requirements.txt). Usage: jinja_values.py [tests/data folder]
"""

import json
import pathlib
import sys

import jinja2
import transformers
from transformers.utils.chat_template_utils import _compile_jinja_template

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests/peer"))
from jinja_peer import FILTERS, METHODS, TESTS  # noqa: E402

# Filters that chat templates have no use for; a template that names one is refused.
UNSUPPORTED = {"filesizeformat", "pprint", "random", "slice", "striptags", "urlencode", "urlize", "wordwrap", "xmlattr"}
VALUES = ["none", "true", "false", "0", "7", "-3", "123456789012345678901", "2.5", "-0.5", "1e20", "''", "' Ab,cß x'", "'12'", "'one two\\nthree'",
          "'<a href=\"x\">&\\'é'", "[]", "[3, 1, 2, 1]", "['b', 'A', 'c', 'É']", "[none, 'x', 2.5]", "(1, 'a')", "{}", "{'b': 1, 'a': [1, 'q', none]}",
          "[{'k': 2, 'name': 'x'}, {'k': 1, 'name': 'Y'}, {'name': none}]", "missing", "[[1, 2], ['x']]"]


def name_of(expression):
    return expression.split("(")[0].split("|")[0].split()[-1 if expression.startswith("not ") else 0]


def expressions():
    environment = _compile_jinja_template.__wrapped__("").environment
    for kind, known, used in (("filter", environment.filters, FILTERS), ("test", environment.tests, TESTS)):
        missing = {name for name in known if name.isidentifier()} - {name_of(text) for text in used} - UNSUPPORTED
        if missing:
            sys.exit(f"no expression with the {kind}s {sorted(missing)}: add them to tests/peer/jinja_peer.py")
    return [f"v|{text}" for text in FILTERS] + [f"v is {text}" for text in TESTS] + [f"v.{text}" for text in METHODS]


def result(value, expression):
    try:
        text = _compile_jinja_template.__wrapped__("{% set v = " + value + " %}{{ " + expression + " }}").render(messages=[])
    except Exception:
        return None
    return False if any(part in text for part in (" at 0x", "<built-in", "Markup(", "range(")) else text


def main():
    data = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2] / "tests/data")
    used = expressions()
    everything = {"versions": {module.__name__: module.__version__ for module in (transformers, jinja2)}, "values": VALUES,
                  "expressions": used, "results": [[result(value, expression) for expression in used] for value in VALUES]}
    (data / "chat/jinja_values.json").write_text(json.dumps(everything, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
