#!/usr/bin/env bash
# Tokens per second of generation, one prompt at a time, with a random model in a real shape: bfloat16 and each quantised base.
#   scripts/bench/generation.sh --peer-python PYTHON --tokenizer DIR [--model tinyllama-1.1b] [--kinds none,nf4] [--rounds 3]
# The model is written to --work and stays there; any tokenizer with at most as many tokens will do.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

PYTHONDONTWRITEBYTECODE=1 exec python3 scripts/bench/generation.py "$@"
