#!/usr/bin/env python3
"""Writes the data of the tiny demo: stories in a small English-like language, and a second task in it.

    make_corpus.py OUTPUT_DIR [--stories N] [--reports N] [--seed S]

stories-train.jsonl, stories-eval.jsonl   {"text"}: the training data of the base model
stories.txt                               the training stories as plain text, for the tokenizer
reports-train.jsonl, reports-eval.jsonl   {"prompt", "completion"}: a story and a clerk's note about it, in a fixed form that
                                          occurs nowhere in the stories: the task for LoRA
No held-out story or prompt occurs in the training data. The same arguments give the same files on every machine.
"""
import argparse
import json
import pathlib
import random

PEOPLE = {
    "he": ["Adam", "Ben", "Carl", "Daniel", "Emil", "Felix", "George", "Henry", "Ivan", "Jonas", "Karl", "Leo"],
    "she": ["Anna", "Bella", "Clara", "Dora", "Emma", "Fiona", "Greta", "Hanna", "Ida", "Julia", "Kate", "Lena"],
}
OBJECT_PRONOUN = {"he": "him", "she": "her"}
ANIMALS = ["dog", "cat", "horse", "goat", "duck", "fox", "rabbit", "crow", "sheep", "donkey", "goose", "mouse", "bear", "owl"]
THINGS = ["ball", "book", "lamp", "basket", "coat", "cup", "drum", "flute", "hat", "kite", "key", "letter", "map", "ring", "rope", "scarf", "shell",
          "spoon", "stone", "sword", "wheel", "bell"]
FRUITS = ["apples", "pears", "plums", "cherries", "nuts", "berries", "figs", "lemons"]
COLOURS = ["red", "blue", "green", "yellow", "white", "black", "brown", "grey", "golden", "purple"]
PLACES = ["in the garden", "in the kitchen", "in the forest", "in the market", "in the school", "in the tower", "on the hill", "on the beach",
          "on the bridge", "on the farm", "at the river", "at the mill", "at the station", "at the harbour", "near the church", "near the well"]
TIMES = ["One morning", "One evening", "On Monday", "On Friday", "In spring", "In summer", "In autumn", "In winter", "After lunch", "Before dinner",
         "Last night", "A long time ago"]
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
MOODS = ["happy", "sad", "tired", "proud", "hungry", "angry", "quiet", "brave", "lonely", "cheerful"]


class World:
    """The people and things of one story."""

    def __init__(self, rng):
        self.rng = rng
        self.hero_pronoun, self.friend_pronoun = rng.choice(["he", "she"]), rng.choice(["he", "she"])
        self.hero = rng.choice(PEOPLE[self.hero_pronoun])
        self.friend = rng.choice([name for name in PEOPLE[self.friend_pronoun] if name != self.hero])
        self.animal = rng.choice(ANIMALS)
        self.animal_colour, self.colour = rng.choice(COLOURS), rng.choice(COLOURS)
        self.thing, self.place, self.time = rng.choice(THINGS), rng.choice(PLACES), rng.choice(TIMES)

    def pick(self, *sentences):
        return self.rng.choice(sentences)

    @property
    def object(self):
        return f"the {self.colour} {self.thing}"


def opening(w):
    return w.pick(
        f"{w.time} {w.hero} met {w.friend} {w.place}.",
        f"{w.time} {w.hero} was {w.place} with {w.friend}.",
        f"{w.time} {w.hero} and {w.friend} were {w.place}.",
        f"{w.hero} lived {w.place}. {w.time} {w.friend} came to see {w.hero}.",
    )


def own(w):
    article = "an" if w.colour[0] in "aeiou" else "a"
    return w.pick(
        f"{w.hero} had {article} {w.colour} {w.thing}.",
        f"{w.hero} carried {article} {w.colour} {w.thing}.",
        f"There {w.hero} found {article} {w.colour} {w.thing}.",
    )


def give(w):
    return w.pick(
        f"{w.hero} gave {w.object} to {w.friend}.",
        f"{w.hero} gave {w.friend} {w.object}.",
        f"{w.friend} got {w.object} from {w.hero}.",
        f"{w.friend} took {w.object} from {w.hero}.",
        f"{w.hero} handed {w.object} to {w.friend}.",
    )


def animal(w):
    return w.pick(
        f"A {w.animal_colour} {w.animal} came and looked at {w.hero}.",
        f"A {w.animal_colour} {w.animal} slept {w.place}.",
        f"{w.friend} saw a {w.animal_colour} {w.animal}.",
    ) + " " + w.pick(
        f"{w.hero} gave the {w.animal} some water.",
        f"The {w.animal} ran after {w.friend}.",
        f"{w.friend} was afraid of the {w.animal}.",
        f"The {w.animal_colour} {w.animal} wanted {w.object}.",
    )


def count(w):
    fruit, first, second = w.rng.choice(FRUITS), w.rng.randint(2, 6), w.rng.randint(1, 6)
    if w.rng.random() < 0.5 or second >= first:
        change, left = f"{w.friend} gave {w.hero} {NUMBERS[second]} more", first + second
    else:
        change, left = f"{w.hero} ate {NUMBERS[second]} of them", first - second
    left_fruit = fruit if left != 1 else {"cherries": "cherry", "berries": "berry"}.get(fruit, fruit[:-1])
    return f"{w.hero} had {NUMBERS[first]} {fruit}. {change}. Now {w.hero} had {NUMBERS[left]} {left_fruit}."


def ending(w):
    mood = w.rng.choice(MOODS)
    return w.pick(
        f"Then {w.friend} went home with {w.object}, and {w.hero} was {mood}.",
        f"{w.friend} thanked {w.hero} for {w.object}.",
        f"In the end {w.hero} was {mood}, but {w.friend} kept {w.object}.",
        f"{w.hero} said goodbye, and {w.friend} told {OBJECT_PRONOUN[w.hero_pronoun]} about the {w.animal}.",
        f"So {w.hero} and {w.friend} became friends.",
    )


def recap(w):
    return w.pick(
        f"Later everyone talked about {w.hero} and {w.friend} and {w.object} {w.place}.",
        f"People still tell of {w.hero}, who met {w.friend} {w.place}, and of {w.object}.",
        f"Nobody forgot {w.friend} and {w.hero}, nor {w.object}.",
    )


def story(rng):
    """One story. The same people, thing, animal and place recur in it, so that a model learns to attend to earlier text."""
    w = World(rng)
    middle = [part for part, probability in ((animal, 0.6), (count, 0.5)) if rng.random() < probability]
    rng.shuffle(middle)
    parts = [opening, own, *middle[:1], give, *middle[1:], ending] + ([recap] if rng.random() < 0.8 else [])
    return " ".join(part(w) for part in parts)


def report(rng):
    """A short story, and a clerk's note about it: what, from whom, to whom, where."""
    w = World(rng)
    extra = animal(w) if rng.random() < 0.5 else None
    parts = [opening(w), own(w), extra, give(w)]
    completion = f" {w.colour} {w.thing}, from {w.hero} to {w.friend}, {w.place}."
    return {"prompt": " ".join(part for part in parts if part) + " Report:", "completion": completion}


def distinct(make, key, amount, seen):
    """`amount` rows with keys that are not in `seen`."""
    rows = []
    while len(rows) < amount:
        row = make()
        if key(row) not in seen:
            seen.add(key(row))
            rows.append(row)
    return rows


def write_rows(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--stories", type=int, default=4500)
    parser.add_argument("--reports", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    arguments.output.mkdir(parents=True, exist_ok=True)

    held_out = max(40, arguments.stories // 50)
    stories = distinct(lambda: {"text": story(rng)}, lambda row: row["text"], arguments.stories + held_out, set())
    write_rows(arguments.output / "stories-train.jsonl", stories[held_out:])
    write_rows(arguments.output / "stories-eval.jsonl", stories[:held_out])
    (arguments.output / "stories.txt").write_text("".join(row["text"] + "\n" for row in stories[held_out:]), encoding="utf-8")

    held_out = max(40, arguments.reports // 40)
    reports = distinct(lambda: report(rng), lambda row: row["prompt"], arguments.reports + held_out, set())
    write_rows(arguments.output / "reports-train.jsonl", reports[held_out:])
    write_rows(arguments.output / "reports-eval.jsonl", reports[:held_out])
    print(f"{arguments.stories} stories and {arguments.reports} reports for training in {arguments.output}")


if __name__ == "__main__":
    main()
