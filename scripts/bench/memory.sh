#!/usr/bin/env bash
# Compares the memory that lora-train estimates with the peak it has, over models, dtypes, rows and what is recomputed, prints
# the table and writes it to docs/benchmarks.md. Fails if an estimate is further off than --tolerance.
#   scripts/bench/memory.sh --peer-python PYTHON [--models tiny,smollm2-135m] [--only SUBSTRING] [--long]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

PYTHONDONTWRITEBYTECODE=1 exec python3 scripts/bench/memory.py "$@"
