#!/usr/bin/env bash
# From a clean clone to a trained LoRA adapter: installs what is missing, builds lora-train, runs the demo (a few minutes).
#   scripts/quickstart.sh [options of scripts/build.sh]
set -euo pipefail
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

"$scripts/build.sh" release --target lora-train "$@"
"$scripts/demo/run.sh"
