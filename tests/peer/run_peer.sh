#!/bin/sh
# run_peer.sh SCRIPT "MODULE …" ARGUMENT…: runs a script of this folder with a Python that has the modules; 77 (skipped)
# where there is none.
set -eu

here=$(dirname "$0")
script=$1
modules=$2
shift 2
python=${LORA_PEER_PYTHON:-python3}
has_modules='import importlib.util as u, sys; sys.exit(any(u.find_spec(m) is None for m in sys.argv[1].split()))'

if ! "$python" -c "$has_modules" "$modules" >/dev/null 2>&1; then
  if [ -n "${LORA_PEER_PYTHON:-}" ]; then
    echo "LORA_PEER_PYTHON=$LORA_PEER_PYTHON: no Python with $modules (scripts/golden/requirements.txt)" >&2
    exit 1
  fi
  echo "SKIPPED: no Python with $modules (set LORA_PEER_PYTHON)"
  exit 77
fi
exec "$python" "$here/$script" "$@"
