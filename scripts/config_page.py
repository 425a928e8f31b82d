#!/usr/bin/env python3
"""Writes docs/config.md, the reference of the config's keys, from `lora-train --print-schema`.

    scripts/config_page.py            writes the page
    scripts/config_page.py --check    fails if the page differs from the program
"""
import argparse
import difflib
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "config.md"
COMMAND = "scripts/config_page.py"

INTRODUCTION = f"""# Config reference

A run of lora-train is described by one JSON file with five keys: `model`, `adapter`, `data`, `training` and `output_dir`.
`lora-train --init MODEL DATA` writes a first one, [configs/](../configs/README.md) holds examples for each kind of run, and
`lora-train --config FILE --print-config` shows every key of a run with its value.
Relative paths are relative to the folder of the config file. `--set training.learning_rate=1e-4` overrides a key on the command line.
An unknown key or value is an error that names the nearest known one; all errors are reported at once.

This page is generated from the program by `{COMMAND}`; do not edit it.
"""

SECTIONS = ("model", "adapter", "data", "training")
LARGEST_INTEGER = 9007199254740991  # the bound of every integer, which is not worth a word


def code(value):
    """A JSON value as code in a table cell."""
    return "`" + json.dumps(value, ensure_ascii=False).replace("|", "\\|") + "`"


def words(text):
    return text.replace("|", "\\|").replace("<", "\\<")


def bounds(schema):
    signs = (("exclusiveMinimum", ">"), ("minimum", "≥"), ("exclusiveMaximum", "<"), ("maximum", "≤"))
    found = [f"{sign} {schema[key]}" for key, sign in signs if key in schema and abs(schema[key]) != LARGEST_INTEGER]
    return " " + " and ".join(found) if found else ""


def single_type(name, schema):
    if name in ("integer", "number"):
        return name + bounds(schema)
    if name == "array":
        return "list" + (" of " + plural(schema["items"]) if "items" in schema else "")
    if name == "object" and isinstance(schema.get("additionalProperties"), dict):
        return "object of " + plural(schema["additionalProperties"])
    return name


def plural(schema):
    names = schema.get("type")
    if not isinstance(names, str):
        return "values"
    return {"array": "lists"}.get(names, names + "s") + bounds(schema)


def type_text(schema):
    """What a key accepts, in a few words."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(type_text(alternative) for alternative in schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    names = schema.get("type", [])
    names = [names] if isinstance(names, str) else names
    return " or ".join(single_type(name, schema) for name in names) or "any value"


def rows_of(schema):
    """The rows of a table; neighbours with one meaning share a row."""
    required = schema.get("required", [])
    rows = []
    for name, key in schema["properties"].items():
        default = "required" if name in required else code(key["default"]) if "default" in key else "–"
        example = ", ".join(code(value) for value in key.get("examples", []))
        row = [f"`{name}`", type_text(key), default, words(key.get("description", "")), example or "–"]
        if rows and rows[-1][3] == row[3] and default == "–" and example == "":
            rows[-1][0] += ", " + row[0]
            rows[-1][1] = "any value" if rows[-1][1] == row[1] == "any value" else "PEFT's default"
        else:
            rows.append(row)
    return rows


def table(schema):
    lines = ["| name | type | default | meaning | example |", "|---|---|---|---|---|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows_of(schema)]) + "\n"


def objects_below(schema):
    """Keys whose values are objects with keys of their own, as (name, schema); lists of such objects as well."""
    for name, key in schema["properties"].items():
        if "properties" in key:
            yield name, key
        elif "properties" in key.get("items", {}):
            yield name, key["items"]


def subsections(section, schema):
    tables = {}  # text → names: keys with equal tables share one
    for name, below in objects_below(schema):
        tables.setdefault(table(below), []).append(f"`{section}.{name}`")
    return "".join(f"\n### Keys of {' and '.join(names)}\n\n{text}" for text, names in tables.items())


def list_of_adapters(alternatives, single):
    """The adapter as a list: the keys that only its entries have."""
    listed = next(schema for schema in alternatives if schema.get("type") == "array")
    entry = listed["items"].get("anyOf", [listed["items"]])[0]
    own = {name: key for name, key in entry["properties"].items() if name not in single["properties"]}
    return f"\n### `adapter` as a list\n\n{listed['description']} Each entry has the keys above, and:\n\n" + table({"properties": own})


def other_methods(alternatives, single):
    """The keys of each further method, without those that it shares with the first."""
    text = ""
    for schema in alternatives:
        if "properties" in schema and schema is not single:
            method = schema["properties"]["peft_type"]["enum"][0]
            own = {name: key for name, key in schema["properties"].items() if name not in single["properties"]}
            text += f"\n### Keys of `\"peft_type\": \"{method}\"`\n\n" + table({"properties": own})
    return text


def section_text(name, schema):
    text = f"\n## {name}\n\n{schema['description']}\n\n"
    if "anyOf" in schema:
        single = next(alternative for alternative in schema["anyOf"] if "properties" in alternative)
        others = other_methods(schema["anyOf"], single)
        return text + table(single) + subsections(name, single) + others + list_of_adapters(schema["anyOf"], single)
    return text + table(schema) + subsections(name, schema)


def page(schema):
    properties = schema["properties"]
    text = INTRODUCTION + "\n## Top level\n\n" + "| name | required | meaning |\n|---|---|---|\n"
    for name, key in properties.items():
        link = f"[`{name}`](#{name})" if name in SECTIONS else f"`{name}`"
        text += f"| {link} | {'yes' if name in schema['required'] else 'no'} | {words(key['description'])} |\n"
    return text + "".join(section_text(name, properties[name]) for name in SECTIONS)


def main():
    parser = argparse.ArgumentParser(description="Writes docs/config.md from `lora-train --print-schema`.")
    parser.add_argument("--lora-train", default=str(ROOT / "build/release/bin/lora-train"), metavar="FILE", help="the program")
    parser.add_argument("--check", action="store_true", help="change nothing, and fail if the page differs from the program")
    arguments = parser.parse_args()
    printed = subprocess.run([arguments.lora_train, "--print-schema"], check=True, capture_output=True, text=True).stdout
    text = page(json.loads(printed))
    if not arguments.check:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    found = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if found == text:
        return 0
    difference = difflib.unified_diff(found.splitlines(), text.splitlines(), "docs/config.md", "the program", lineterm="", n=0)
    print("\n".join(list(difference)[:40]))
    print(f"docs/config.md differs from the program. Run {COMMAND} and commit the page.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
