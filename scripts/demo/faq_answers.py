#!/usr/bin/env python3
"""Prints the answers of the demo before and after training with that of the FAQ, which the model has not seen.

    faq_answers.py WORK_DIR
"""
import argparse
import json
import pathlib
import textwrap


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=pathlib.Path)
    work = parser.parse_args().work
    first_row = (work / "data/faq-eval.jsonl").read_text(encoding="utf-8").splitlines()[0]
    question, answer = (message["content"] for message in json.loads(first_row)["messages"])
    texts = {
        "question": question,
        "before training": (work / "answer-before.txt").read_text(encoding="utf-8"),
        "after training": (work / "answer-after.txt").read_text(encoding="utf-8"),
        "the FAQ's own": answer,
    }
    print()
    for name, text in texts.items():
        print(textwrap.fill(" ".join(text.split()), width=110, initial_indent=f"  {name:<17}", subsequent_indent=" " * 19))


if __name__ == "__main__":
    main()
