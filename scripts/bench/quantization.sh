#!/usr/bin/env bash
# The comparison of the QLoRA paper on a real model: bfloat16 LoRA and each quantised base, before and after training on the same rows;
# prints the table and writes it to docs/quantization.md.
#   scripts/bench/quantization.sh --model DIR --train ROWS.jsonl --test ROWS.jsonl --format instruction [--kinds bfloat16,nf4] [--steps 60]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

PYTHONDONTWRITEBYTECODE=1 exec python3 scripts/bench/quantization.py "$@"
