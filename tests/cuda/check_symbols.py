"""Whether LibTorch's libraries define every symbol of at:: and c10:: that a module asks for.

python check_symbols.py MODULE LIBTORCH_LIB      Exit status: 0 all are there, 1 some are not, 77 this LibTorch has no CUDA part.
"""

import subprocess
import sys
from pathlib import Path


def symbols(file: Path, which: str) -> set[str]:
    lines = subprocess.run(["nm", "--dynamic", which, str(file)], capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split()[-1].partition("@")[0] for line in lines}


def main() -> int:
    module, folder = Path(sys.argv[1]), Path(sys.argv[2])
    if not (folder / "libtorch_cuda.so").exists():
        print("this LibTorch has no CUDA part")
        return 77
    wanted = {name for name in symbols(module, "--undefined-only") if name.startswith(("_ZN2at", "_ZNK2at", "_ZN3c10", "_ZNK3c10"))}
    found = set().union(*(symbols(folder / name, "--defined-only") for name in ("libc10.so", "libtorch_cpu.so", "libtorch_cuda.so")))
    missing = sorted(wanted - found)
    print(f"{len(wanted)} symbols, missing: {' '.join(missing) or 'none'}")
    return 1 if missing or not any("CUDAGraph" in name for name in wanted) else 0


if __name__ == "__main__":
    sys.exit(main())
