#!/usr/bin/env bash
# Compares lora-train with transformers + PEFT and writes docs/benchmarks.md; --help lists the options.
#   scripts/bench/run.sh --peer-python PYTHON [--models smollm2-135m] [--targets qv] [--workloads a512,b] [--dtype float32]
# PYTHON has the packages of scripts/golden/requirements.txt. Relative paths start at the repository's root.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

PYTHONDONTWRITEBYTECODE=1 exec python3 scripts/bench/compare.py "$@"
