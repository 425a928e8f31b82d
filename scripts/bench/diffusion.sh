#!/usr/bin/env bash
# LoRA on Stable Diffusion 1.5's UNet in its real shapes beside diffusers + PEFT: images per second, memory, and the share of torch's own
# rate of convolutions and products; prints the table and writes it to docs/benchmarks.md.
#   scripts/bench/diffusion.sh --peer-python PYTHON [--cases float32-256-b1,bfloat16-512-b1] [--steps 4]
# PYTHON has torch, diffusers, peft and safetensors (scripts/golden/requirements.txt); `PYTHONPATH` is passed on to it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

PYTHONDONTWRITEBYTECODE=1 exec python3 scripts/bench/diffusion.py "$@"
