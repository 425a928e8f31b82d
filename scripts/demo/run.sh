#!/usr/bin/env bash
# The demo: LoRA on a real model, SmolLM2-135M-Instruct, with a real FAQ. Shows its answer to a question before and after training.
#   scripts/demo/run.sh [--tiny | --short]
# --tiny uses a tiny model that the demo trains itself, as it also does where the model cannot be downloaded. --short is the same in
# seconds instead of minutes, for tests; it needs no network. Results are written to build/demo (--tiny: build/demo-tiny, --short:
# build/demo-short), which is removed first. LORA_TRAIN names another binary than build/release/bin/lora-train; lora-generate is
# expected next to it. Exit code 1 if the held-out loss does not fall as expected.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

train=${LORA_TRAIN:-build/release/bin/lora-train}
[ -x "$train" ] || fail "$train does not exist. Run scripts/build.sh first."
case ${1:-} in
  "")
    if python=$(find_pip) && scripts/demo/fetch.sh "$python"; then
      source scripts/demo/faq.sh
    else
      step "demo: the real model is not available (see above), so the demo trains a tiny model and adapts that one"
      source scripts/demo/tiny.sh
    fi
    ;;
  --tiny | --short) source scripts/demo/tiny.sh "$1" ;;
  *) fail "unknown option '$1': expected --tiny, --short or nothing" ;;
esac
