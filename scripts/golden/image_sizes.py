"""tests/data/image_sizes.json: the sizes to which kohya's tools and diffusers' training scripts bring images.

    git clone https://github.com/kohya-ss/sd-scripts
    python scripts/golden/image_sizes.py --sd-scripts sd-scripts

Of sd-scripts only two definitions are run, without its dependencies: BucketManager and make_bucket_resolutions.
"""
import argparse
import ast
import json
import math
import pathlib
import random
import types

import numpy as np

FILE = pathlib.Path(__file__).resolve().parents[2] / "tests" / "data" / "image_sizes.json"
CASES = [((512, 512), 256, 1024, 64), ((1024, 1024), 512, 2048, 64), ((768, 512), 256, 1024, 64), ((640, 640), 256, 896, 32),
         ((64, 64), 32, 128, 8)]


def definition(file, name, names):
    """One class or function of a source, without the rest of it."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    node = next(node for node in tree.body if getattr(node, "name", "") == name)
    exec(compile(ast.Module([node], []), str(file), "exec"), names)
    return names[name]


def sizes():
    draw = random.Random(1)
    fixed = [(512, 512), (640, 640), (256, 1024), (3000, 100), (100, 3000), (333, 767), (767, 333), (64, 64), (65, 129), (1920, 1080)]
    return fixed + [(draw.randint(64, 2500), draw.randint(64, 2500)) for _ in range(40)]


def resized_to(side, width, height):
    """torchvision.transforms.functional._compute_resized_output_size, then center_crop."""
    short, long = (width, height) if width <= height else (height, width)
    new_short, new_long = side, int(side * long / short)
    new = (new_short, new_long) if width <= height else (new_long, new_short)
    return [*new, int(round((new[0] - side) / 2.0)), int(round((new[1] - side) / 2.0)), side, side]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sd-scripts", type=pathlib.Path, required=True)
    library = parser.parse_args().sd_scripts / "library"
    names = {"math": math, "np": np, "Tuple": tuple}
    names["model_util"] = types.SimpleNamespace(
        make_bucket_resolutions=definition(library / "model_util.py", "make_bucket_resolutions", {"math": math}))
    manager_class = definition(library / "train_util.py", "BucketManager", names)
    cases = []
    for resolution, smallest, largest, step in CASES:
        for upscale in (True, False):
            manager = manager_class(not upscale, resolution, smallest, largest, step)
            manager.make_buckets()
            rows = []
            for width, height in sizes():
                try:
                    bucket, resized, _ = manager.select_bucket(width, height)
                except (ZeroDivisionError, AssertionError):  # it cannot take such a shape
                    continue
                if min(bucket) > 0:
                    rows.append([width, height, *resized, *bucket])
            cases.append({"resolution": resolution, "min": smallest, "max": largest, "step": step, "upscale": upscale,
                          "buckets": manager.predefined_resos, "images": rows})
    fixed = [[width, height, *resized_to(512, width, height)] for width, height in sizes()]
    FILE.write_text(json.dumps({"buckets": cases, "resize_512": fixed}, separators=(",", ":")) + "\n")
    print(f"{FILE}: {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
