#!/usr/bin/env python3
"""Writes the drawings of the image demo: one coloured shape each, 64 x 64 pixels, each with a caption file beside it.

    image_drawings.py OUTPUT_DIR [--base N] [--style N]

OUTPUT_DIR/base    "a red circle": filled shapes on white, of every shape and colour, to train the base model on
OUTPUT_DIR/style   the same captions in another style, for LoRA: bright outlines at night. HELD_OUT shapes are left out here.
The same arguments give the same files on every machine.
"""
import argparse
import math
import pathlib
import random

from small_png import write_png

SIDE = 64
DARK, LIGHT = 45, 255  # the two values that a colour's red, green and blue have
COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0), "pink": (1, 0, 1), "cyan": (0, 1, 1)}
WHITE, NIGHT = (1, 1, 1), (0, 0, 0)
LINE = 6.0  # width of an outline in pixels


def star(x, y, outer=1.05, inner=0.48):
    """Five points at distance `outer`, with corners at `inner` between them."""
    fifth = math.tau / 5
    angle = math.atan2(x, -y) % fifth
    angle = min(angle, fifth - angle)
    edge = outer * inner * math.sin(fifth / 2) / (inner * math.sin(fifth / 2 - angle) + outer * math.sin(angle))
    return math.hypot(x, y) <= edge


# Whether a point is in a shape of radius about 1 around (0, 0); y grows downwards.
SHAPES = {
    "circle": lambda x, y: x * x + y * y <= 0.85,
    "square": lambda x, y: max(abs(x), abs(y)) <= 0.8,
    "triangle": lambda x, y: -0.9 <= y <= 0.75 and abs(x) <= (y + 0.9) * 0.6,
    "cross": lambda x, y: min(abs(x), abs(y)) <= 0.34 and max(abs(x), abs(y)) <= 0.95,
    "diamond": lambda x, y: abs(x) * 1.25 + abs(y) <= 1.0,
    "moon": lambda x, y: x * x + y * y <= 0.9 and (x - 0.5) ** 2 + (y + 0.15) ** 2 > 0.45,
    "star": star,
    "heart": lambda x, y: (1.5 * x * x + 1.4 * (y + 0.1) ** 2 - 1) ** 3 + 2.4 * x * x * (y + 0.1) ** 3 <= 0,
}
HELD_OUT = ("star", "heart")


def mask_of(shape, rng):
    """Which points of a grid of 2 x 2 points a pixel are in the shape, at a random place and size."""
    radius = rng.uniform(20, 25)
    left, top = (SIDE / 2 + rng.uniform(-5, 5) for _ in range(2))
    points = [(i + 0.5) / 2 for i in range(2 * SIDE)]
    return [[SHAPES[shape]((x - left) / radius, (y - top) / radius) for x in points] for y in points]


def outline_of(mask):
    """The points of the mask that are within LINE pixels of a point outside of it."""
    reach = [(round(2 * LINE * math.cos(i * math.tau / 16)), round(2 * LINE * math.sin(i * math.tau / 16))) for i in range(16)]
    last = 2 * SIDE - 1
    return [[mask[y][x] and not all(mask[min(max(y + v, 0), last)][min(max(x + u, 0), last)] for u, v in reach) for x in range(last + 1)]
            for y in range(last + 1)]


def paint(mask, colour, background):
    """Pixels, each the mean of its four points."""
    pixels = bytearray()
    for y in range(SIDE):
        above, below = mask[2 * y], mask[2 * y + 1]
        for x in range(SIDE):
            share = (above[2 * x] + above[2 * x + 1] + below[2 * x] + below[2 * x + 1]) / 4
            pixels += bytes(round(DARK + (LIGHT - DARK) * (share * c + (1 - share) * b)) for c, b in zip(colour, background))
    return pixels


def write_drawings(folder, count, shapes, in_style, seed):
    folder.mkdir(parents=True)
    rng = random.Random(seed)
    pairs = [(shape, colour) for shape in shapes for colour in COLOURS]
    for number in range(count):
        shape, colour = pairs[number % len(pairs)]
        mask = mask_of(shape, rng)
        pixels = paint(outline_of(mask), COLOURS[colour], NIGHT) if in_style else paint(mask, COLOURS[colour], WHITE)
        write_png(folder / f"{number:03}.png", SIDE, SIDE, pixels)
        (folder / f"{number:03}.txt").write_text(f"a {colour} {shape}\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--base", type=int, default=384, help="number of drawings for the base model")
    parser.add_argument("--style", type=int, default=72, help="number of drawings in the style for LoRA")
    arguments = parser.parse_args()
    write_drawings(arguments.output / "base", arguments.base, list(SHAPES), in_style=False, seed=1)
    write_drawings(arguments.output / "style", arguments.style, [s for s in SHAPES if s not in HELD_OUT], in_style=True, seed=2)
    print(f"{arguments.base} drawings for the base model, {arguments.style} in the style for LoRA (no {' and no '.join(HELD_OUT)}), in "
          f"{arguments.output}")


if __name__ == "__main__":
    main()
