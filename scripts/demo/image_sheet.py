#!/usr/bin/env python3
"""Puts images of the same size into one PNG, in rows with a title.

    image_sheet.py OUTPUT.png --row TITLE IMAGE.png ... [--row TITLE IMAGE.png ...]... --labels "a red star" ...

The labels stand above the columns of all rows whose title ends with "*".
"""
import argparse
import pathlib
import sys

from small_png import read_png, write_png

# Letters of 3 x 5 pixels: a digit for each row, whose three bits are its pixels.
LETTERS = {
    "a": "25755", "b": "65656", "c": "34443", "d": "65556", "e": "74647", "f": "74644", "g": "34553", "h": "55755", "i": "72227",
    "j": "11152", "k": "55655", "l": "44447", "m": "57755", "n": "65555", "o": "25552", "p": "65644", "q": "25573", "r": "65655",
    "s": "34216", "t": "72222", "u": "55557", "v": "55552", "w": "55775", "x": "55255", "y": "55222", "z": "71247", ",": "00024",
}
ZOOM = 2  # of images and letters
GAP = 8
BACKGROUND, INK = (232, 232, 232), (40, 40, 40)


class Sheet:
    def __init__(self, width, height):
        self.width, self.height = width, height
        self.pixels = bytearray(bytes(BACKGROUND) * (width * height))

    def fill(self, left, top, colour):
        """A square of ZOOM pixels."""
        for y in range(top, min(top + ZOOM, self.height)):
            for x in range(left, min(left + ZOOM, self.width)):
                self.pixels[3 * (y * self.width + x):3 * (y * self.width + x) + 3] = bytes(colour)

    def write(self, text, left, top):
        for place, letter in enumerate(text.lower()):
            for y, bits in enumerate(LETTERS.get(letter, "00000")):
                for x in range(3):
                    if int(bits) & (4 >> x):
                        self.fill(left + ZOOM * (4 * place + x), top + ZOOM * y, INK)

    def paste(self, image, left, top):
        width, height, pixels = image
        for y in range(height):
            for x in range(width):
                self.fill(left + ZOOM * x, top + ZOOM * y, pixels[3 * (y * width + x):3 * (y * width + x) + 3])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--labels", nargs="+", required=True)
    parser.add_argument("--row", nargs="+", action="append", required=True)
    arguments = parser.parse_args()

    rows = [(title, [read_png(pathlib.Path(path)) for path in paths]) for title, *paths in arguments.row]
    width, height = (ZOOM * size for size in rows[0][1][0][:2])
    line = 5 * ZOOM + GAP
    lines = [2 if title.endswith("*") else 1 for title, _ in rows]
    sheet = Sheet(GAP + max(len(images) for _, images in rows) * (width + GAP), GAP + sum(lines) * line + len(rows) * (height + GAP))
    top = GAP
    for title, images in rows:
        sheet.write(title.removesuffix("*"), GAP, top)
        top += line
        if title.endswith("*"):
            for column, label in enumerate(arguments.labels):
                sheet.write(label, GAP + column * (width + GAP), top)
            top += line
        for column, image in enumerate(images):
            sheet.paste(image, GAP + column * (width + GAP), top)
        top += height + GAP
    write_png(arguments.output, sheet.width, sheet.height, sheet.pixels)
    return 0


if __name__ == "__main__":
    sys.exit(main())
