"""Writes tests/data/adapters/peft_keys.json: the keys of LoRA's adapter_config.json, by the first version of PEFT that writes each.

    pip download --no-deps peft==0.3.0 -d wheels    # and each further version
    python scripts/golden/peft_keys.py wheels
"""

import ast
import json
import sys
import zipfile
from pathlib import Path

OUTPUT = Path(__file__).resolve().parents[2] / "tests" / "data" / "adapters" / "peft_keys.json"
CLASSES = {"PeftConfigMixin", "PeftConfig", "LoraConfig"}
FILES = ("peft/config.py", "peft/utils/config.py", "peft/tuners/lora.py", "peft/tuners/lora/config.py")


def fields(wheel: Path) -> set[str]:
    found = set()
    with zipfile.ZipFile(wheel) as archive:
        for name in set(FILES) & set(archive.namelist()):
            for node in ast.walk(ast.parse(archive.read(name))):
                if isinstance(node, ast.ClassDef) and node.name in CLASSES:
                    found |= {s.target.id for s in node.body if isinstance(s, ast.AnnAssign)}
    return found


def main() -> None:
    wheels = {tuple(map(int, path.name.split("-")[1].split("."))): path for path in Path(sys.argv[1]).glob("peft-*.whl")}
    first = {}
    for version in sorted(wheels):
        for key in sorted(fields(wheels[version])):
            first.setdefault(key, ".".join(map(str, version)))
    OUTPUT.write_text(json.dumps(first, indent=1) + "\n")


if __name__ == "__main__":
    main()
