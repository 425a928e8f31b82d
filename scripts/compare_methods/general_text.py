"""Rows of general English for measuring what a model forgets: definitions and examples of WordNet, always the same ones.

    general_text.py WORDNET_FOLDER OUTPUT.jsonl
"""

import json
import random
import sys
from pathlib import Path

ROWS = 120
DEFINITIONS_PER_ROW = 6


def definitions(folder: Path) -> list[str]:
    found = []
    for name in ("data.noun", "data.verb", "data.adj"):
        for line in (folder / name).read_text(encoding="utf-8").splitlines():
            if "|" in line:
                word = line.split()[4].replace("_", " ")
                found.append(f"{word}: {line.split('|', 1)[1].strip()}.")
    return found


def main() -> int:
    chosen = random.Random(1).sample(definitions(Path(sys.argv[1])), ROWS * DEFINITIONS_PER_ROW)
    rows = [" ".join(chosen[i : i + DEFINITIONS_PER_ROW]) for i in range(0, len(chosen), DEFINITIONS_PER_ROW)]
    Path(sys.argv[2]).write_text("".join(json.dumps({"text": row}) + "\n" for row in rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
