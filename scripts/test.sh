#!/usr/bin/env bash
# Builds and runs every test, then the short demo with the programs as users run them. CI runs this.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case ${1:-} in
  -h | --help)
    cat <<'TEXT'
usage: scripts/test.sh [PRESET] [-DNAME=VALUE]...

Builds everything, runs every test and, with the preset release, the short demo. Arguments are those of scripts/build.sh.
TEXT
    exit 0
    ;;
esac

preset=release
case ${1:-} in release | dev | asan | tidy) preset=$1 ;; esac
# Where there is an nvcc, the CUDA kernels must build.
! command -v nvcc >/dev/null || set -- "$@" -DLORA_CUDA=ON

root=$PWD
(cd "$caller" && "$root/scripts/build.sh" "$@")

log=build/$preset/ctest.log
step "tests: ctest --preset $preset (log: $log)"
tests_passed=true
ctest --preset "$preset" --parallel "$(nproc)" 2>&1 | show_progress "tests passed" "$log" || tests_passed=false

if [ "$preset" = release ] && $tests_passed; then
  ./scripts/demo/run.sh --short
fi
grep -E '^[0-9]+% tests passed' "$log" || true
$tests_passed || fail "tests failed (see above, or $log). One of them again: ctest --preset $preset --output-on-failure -R NAME"
step "all checks passed"
if [ "$preset" = release ]; then
  step "next: scripts/demo/run.sh adapts a small language model, build/release/bin/lora-train --help lists the options"
fi
