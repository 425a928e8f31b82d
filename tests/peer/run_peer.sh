#!/bin/sh
# Runs peer_compare.py with a Python that has torch, transformers and peft; 77 (skipped) where there is none.
set -eu

here=$(dirname "$0")
python=${LORA_PEER_PYTHON:-python3}
has_peft='import importlib.util as u, sys; sys.exit(any(u.find_spec(m) is None for m in ("torch", "transformers", "peft")))'

if ! "$python" -c "$has_peft" >/dev/null 2>&1; then
  if [ -n "${LORA_PEER_PYTHON:-}" ]; then
    echo "LORA_PEER_PYTHON=$LORA_PEER_PYTHON: no Python with torch, transformers and peft (scripts/golden/requirements.txt)" >&2
    exit 1
  fi
  echo "SKIPPED: no Python with torch, transformers and peft (set LORA_PEER_PYTHON)"
  exit 77
fi
exec "$python" "$here/peer_compare.py" "$@"
