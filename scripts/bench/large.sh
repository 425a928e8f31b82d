#!/usr/bin/env bash
# Trains LoRA on a large model with random weights whose base is quantised while it is loaded, and measures steps and peak memory.
#   scripts/bench/large.sh --peer-python PYTHON [--model llama-7b] [--quantize nf4-dq] [--steps 3] [--length 256] [--most-memory 6.5]
# The model (2 bytes a parameter) is written to --work shard by shard and stays there.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

PYTHONDONTWRITEBYTECODE=1 exec python3 scripts/bench/large.py "$@"
