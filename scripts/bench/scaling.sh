#!/usr/bin/env bash
# Prints time and memory of lora-train for two sizes each of batch, data set (1 MB, 100 MB) and vocabulary.
#   scripts/bench/scaling.sh --peer-python PYTHON
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

PYTHONDONTWRITEBYTECODE=1 exec python3 scripts/bench/scaling.py "$@"
