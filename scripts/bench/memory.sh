#!/usr/bin/env bash
# Compares the memory that lora-train estimates with its measured peak, for several models, dtypes, rows and uses of gradient
# checkpointing; prints the table and writes it to docs/benchmarks.md. Fails if an estimate is further off than --tolerance.
#   scripts/bench/memory.sh --peer-python PYTHON [--models tiny,smollm2-135m] [--only SUBSTRING] [--long]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

PYTHONDONTWRITEBYTECODE=1 exec python3 scripts/bench/memory.py "$@"
