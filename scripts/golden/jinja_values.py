#!/usr/bin/env python3
"""Makes tests/data/chat/jinja_values.json: what every filter, test and method returns for values of each kind, by jinja2 in
transformers' environment.

    {"versions", "values": [source of a value], "expressions": [source, of v], "results": [[text of each expression] of each value],
     "cases": [[source, text]]}

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

# A filter that chooses by chance; a template that uses it is refused.
UNSUPPORTED = {"random"}
VALUES = ["none", "true", "false", "0", "7", "-3", "123456789012345678901", "2.5", "-0.5", "1e20", "''", "' Ab,cß x'", "'12'", "'one two\\nthree'",
          "'<a href=\"x\">&\\'é'", "[]", "[3, 1, 2, 1]", "['b', 'A', 'c', 'É']", "[none, 'x', 2.5]", "(1, 'a')", "{}", "{'b': 1, 'a': [1, 'q', none]}",
          "[{'k': 2, 'name': 'x'}, {'k': 1, 'name': 'Y'}, {'name': none}]", "missing", "[[1, 2], ['x']]"]

# What the values above do not bring out.
LONG = "'The well-known state-of-the-art re-use--or not--of a 20-fold co-op: supercalifragilistic-expialidocious  end '"
CASES = [
    *(f"{LONG}|wordwrap({options})" for options in ("12", "7, false", "9, true, ' / '", "10, break_on_hyphens=false", "1", "200")),
    "'a\\n\\n  b c\\r\\nd\\u2028é'|wordwrap(2)", "''|wordwrap(0)", "'a'|wordwrap(0)", "'ab abcd'|wordwrap(3)|pprint",
    "'<p>a &lt; b</p> <!-- <b>no</b> --> c&nbsp;d &amp;amp; &notit; &copy &#8364;&#x1F600;&#0;&#150;&#xD800;&#11;&#99999999999; &bogus; & < e'|striptags",
    "'a <b'|striptags", "'<!-- a'|striptags", "'x/y z?ä=1&~'|urlencode", "[('a b', 'c/d'), ('é', none)]|urlencode", "['ab', 'cd']|urlencode", "{'q x': [1, 'ü']}|urlencode",
    "{'a': 1, 'b': none, 'c': '<&\"', 'd': missing}|xmlattr", "{'a b': 1}|xmlattr", "{1: 1}|xmlattr", "{'a b': none}|xmlattr ~ '.'",
    *(f"({size})|filesizeformat" for size in ("1", "1.0", "999.9", "1000", "1023|float", "1e24", "1e27", "1e40", "-5e20", "'1_500'", "'nan'", "'inf'", "10**15", "123456")),
    *(f"({size})|filesizeformat(true)" for size in ("1024", "1500000", "2.0**90")),
    "{'b': [1, 2, {'y': (1,), 'x': 'v'}], 'a': 'word ' * 30, 3: none, (1, 'k'): 2.5, none: [], true: {}}|pprint", "('word ' * 20 ~ '\\nnext line')|pprint",
    "[['x' * 70, 'y' * 70], {'k' * 60: 'a b ' * 10}, ('z' * 77,), 'w ' * 50, 12345678901234567890]|pprint", "('x' * 100)|pprint", "[1, 2]|pprint",
    "('see http://x.org/a?b=1&c, (https://y.com/p_(q)), www.z.net. mailto:me@x.org you@y.co.uk @no ftp://f.x plain.com a.b http://1.2.3.4:80/ &lt;x.org&gt; '"
    " ~ 'http://[::1:2]/ xn--a.xn--b a@b <http://u.org>')|urlize",
    "'http://long.example.org/path'|urlize(10, rel='b a', target='<t>')", "'http://x.org'|urlize(-3)", "'ftp://x tel:1 tel:'|urlize(extra_schemes=['ftp://', 'tel:'])",
    "'x'|urlize(extra_schemes=['bad'])", "[1, 2, 3, 4, 5, 6, 7]|slice(3)|list", "[1, 2, 3]|slice(5, 0)|list", "[1]|slice(0)|list", "[1]|slice(-2)|list", "[1]|slice|list",
]


def name_of(expression):
    return expression.split("(")[0].split("|")[0].split()[-1 if expression.startswith("not ") else 0]


def expressions():
    environment = _compile_jinja_template.__wrapped__("").environment
    for kind, known, used in (("filter", environment.filters, FILTERS), ("test", environment.tests, TESTS)):
        missing = {name for name in known if name.isidentifier()} - {name_of(text) for text in used} - UNSUPPORTED
        if missing:
            sys.exit(f"no expression with the {kind}s {sorted(missing)}: add them to tests/peer/jinja_peer.py")
    return [f"v|{text}" for text in FILTERS] + [f"v is {text}" for text in TESTS] + [f"v.{text}" for text in METHODS]


def result(expression, value="none"):
    try:
        text = _compile_jinja_template.__wrapped__("{% set v = " + value + " %}{{ " + expression + " }}").render(messages=[])
    except Exception:
        return None
    return False if any(part in text for part in (" at 0x", "<built-in", "Markup(", "range(")) else text


def main():
    data = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2] / "tests/data")
    used = expressions()
    everything = {"versions": {module.__name__: module.__version__ for module in (transformers, jinja2)}, "values": VALUES,
                  "expressions": used, "results": [[result(expression, value) for expression in used] for value in VALUES],
                  "cases": [[case, result(case)] for case in CASES]}
    (data / "chat/jinja_values.json").write_text(json.dumps(everything, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
