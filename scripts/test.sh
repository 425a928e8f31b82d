#!/usr/bin/env bash
# Builds and runs every test, then the demo in its short form through the real binary. What CI runs.
#   scripts/test.sh [PRESET] [options of scripts/build.sh]
set -euo pipefail
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

preset=release
case ${1:-} in release | dev | asan | tidy) preset=$1 ;; esac
# Where there is an nvcc, the CUDA kernels must build.
! command -v nvcc >/dev/null || set -- "$@" -DLORA_CUDA=ON

"$scripts/build.sh" "$@"
source "$scripts/common.sh"

log=build/$preset/ctest.log
step "tests: ctest --preset $preset (log: $log)"
tests_passed=true
ctest --preset "$preset" --parallel "$(nproc)" 2>&1 | tee "$log" || tests_passed=false

if [ "$preset" = release ] && $tests_passed; then
  ./scripts/demo/run.sh --short
fi
grep -E '^[0-9]+% tests passed' "$log" || true
$tests_passed || fail "tests failed (see above, or $log)"
step "all checks passed"
