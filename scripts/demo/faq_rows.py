#!/usr/bin/env python3
"""Splits the FAQ of the demo into rows to train on and held-out rows, as conversations of one question and its answer.

    faq_rows.py FAQ.jsonl OUTPUT_DIR --ask QUESTION [--eval-rows N]

Writes faq-train.jsonl and faq-eval.jsonl. QUESTION is always held out, and no held-out question occurs in the training rows.
The same arguments give the same files on every machine.
"""
import argparse
import json
import pathlib
import random
import sys


def conversation(question, answer):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faq", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--ask", required=True, help="question that the demo asks before and after training")
    parser.add_argument("--eval-rows", type=int, default=40)
    arguments = parser.parse_args()

    # Some questions occur more than once: the first answer is kept.
    answers = {}
    for line in arguments.faq.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        answers.setdefault(row["q"].strip(), row["a"].strip())
    if arguments.ask not in answers:
        print(f"error: {arguments.faq}: the question '{arguments.ask}' is not in it", file=sys.stderr)
        return 1
    questions = sorted(answers)
    random.Random(1).shuffle(questions)
    questions.remove(arguments.ask)
    questions.insert(0, arguments.ask)

    arguments.output.mkdir(parents=True, exist_ok=True)
    parts = {"faq-eval.jsonl": questions[:arguments.eval_rows], "faq-train.jsonl": questions[arguments.eval_rows:]}
    for name, part in parts.items():
        rows = (json.dumps(conversation(question, answers[question]), ensure_ascii=False) for question in part)
        (arguments.output / name).write_text("".join(row + "\n" for row in rows), encoding="utf-8")
    counts = [len(part) for part in parts.values()]
    print(f"{counts[1]} questions with answers to train on, {counts[0]} held out, in {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
