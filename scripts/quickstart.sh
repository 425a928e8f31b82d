#!/usr/bin/env bash
# From a fresh clone to a trained LoRA adapter: installs what is missing, builds the programs, runs the demo.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case ${1:-} in
  -h | --help)
    cat <<'TEXT'
usage: scripts/quickstart.sh [-DNAME=VALUE]...

Installs what is missing, builds the programs into build/release/bin/ (10 to 40 minutes the first time) and runs the demo, which
adapts a small language model with LoRA (about 5 minutes). Options are those of scripts/build.sh.
TEXT
    exit 0
    ;;
esac

programs=()
for program in train generate eval merge inspect convert tokenize; do
  programs+=(--target "lora-$program")
done
step "quickstart 1/2: installing and building"
root=$PWD
(cd "$caller" && "$root/scripts/build.sh" release "${programs[@]}" "$@")
step "quickstart 2/2: demo"
scripts/demo/run.sh
