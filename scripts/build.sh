#!/usr/bin/env bash
# Installs what is missing and builds into build/<preset>/bin/. Safe to run again: what is there is left alone.
set -euo pipefail
caller=$PWD
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
  cat <<'TEXT'
usage: scripts/build.sh [PRESET] [--target NAME]... [-DNAME=VALUE]...

  PRESET              release (default), dev, asan (address and undefined-behaviour sanitizers), tidy (clang-tidy)
  --target NAME       build only this target (default: everything)
  -DNAME=VALUE        given to CMake; -DLIBTORCH_ROOT=DIR names a LibTorch (2.11 to 2.15, with include/ and lib/)

LibTorch is taken from -DLIBTORCH_ROOT, else $LIBTORCH_ROOT, else the torch 2.11 to 2.15 of the python3 on the PATH,
else it is installed from the pinned wheel into .deps/torch (about 1.3 GB).
TEXT
}

# libtorch_cpu.so of the wheel (x86-64 and aarch64) needs the two CUDA run-time libraries and nothing else of CUDA.
torch_version=2.15.0
wheels=("torch==$torch_version" nvidia-cuda-runtime==13.2.86 nvidia-cuda-cupti==13.2.86)
wheel_folder=.deps/torch

preset=release
targets=()
cmake_arguments=()
libtorch=${LIBTORCH_ROOT:-}

read_arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) usage && exit 0 ;;
      --target)
        [ $# -ge 2 ] || { usage >&2 && exit 2; }
        targets+=(--target "$2") && shift
        ;;
      -DLIBTORCH_ROOT=* | -DLIBTORCH_ROOT:*=*) libtorch=${1#*=} ;;
      -D?*) cmake_arguments+=("$1") ;;
      release | dev | asan | tidy) preset=$1 ;;
      *)
        printf "error: '%s' is neither a preset (release, dev, asan, tidy) nor an option\n" "$1" >&2
        usage >&2
        exit 2
        ;;
    esac
    shift
  done
}

check_machine() {
  local system machine
  system=$(uname -s) machine=$(uname -m)
  [ "$system" = Linux ] || fail "unsupported system $system: expected Linux. LibTorch's wheels used here are Linux ones."
  case $machine in
    x86_64 | aarch64) ;;
    *) fail "unsupported architecture $machine: expected x86_64 or aarch64. There is no LibTorch wheel for it." ;;
  esac
  getconf GNU_LIBC_VERSION >/dev/null 2>&1 || fail "unsupported C library: expected glibc (LibTorch has no build for musl). Use a Debian or Ubuntu image."
  step "machine: $system $machine, $(getconf GNU_LIBC_VERSION)"
}

# Debian packages that are not installed, of those the preset needs.
missing_packages() {
  local wanted=(g++ cmake ninja-build git pkg-config python3 python3-pip ccache libcli11-dev nlohmann-json3-dev libspdlog-dev
    libsentencepiece-dev sentencepiece libgtest-dev libgmock-dev libssl-dev libpcre2-dev libicu-dev zlib1g-dev)
  [ "$preset" != tidy ] || wanted+=(clang-tidy)
  local installed package
  installed=" $({ dpkg-query --show --showformat '${db:Status-Abbrev}${Package}\n' "${wanted[@]}" 2>/dev/null || true; } | sed -n 's/^.i //p' | tr '\n' ' ') "
  for package in "${wanted[@]}"; do
    [[ $installed == *" $package "* ]] || printf '%s\n' "$package"
  done
}

# The command that gives root's rights, in `as_root` (empty for root itself).
find_root() {
  as_root=()
  [ "$(id -u)" -ne 0 ] || return 0
  command -v sudo >/dev/null || return 1
  if sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
  elif [ -t 0 ]; then
    as_root=(sudo)
  else
    return 1
  fi
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages)
  if [ ${#missing[@]} -eq 0 ]; then
    step "packages: all there"
    return
  fi
  local command="apt-get update && apt-get install --yes --no-install-recommends ${missing[*]}"
  find_root || fail "packages are missing and neither root nor sudo is at hand. Ask an administrator to run:
  $command"
  step "packages: installing ${missing[*]}"
  local log
  log=$(mktemp)
  if ! { "${as_root[@]}" apt-get update && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    rm -f "$log"
    fail "apt-get could not install the packages (its last lines are above). Without network, install them another way: ${missing[*]}"
  fi
  rm -f "$log"
}

# Without dpkg: names what is missing and leaves installing to the user.
check_tools() {
  local missing=() tool library
  for tool in g++ cmake ninja git pkg-config python3; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  [ "$preset" != tidy ] || command -v clang-tidy >/dev/null || missing+=(clang-tidy)
  if command -v pkg-config >/dev/null; then
    for library in sentencepiece spdlog nlohmann_json libpcre2-8 icu-uc libcrypto zlib gtest gmock CLI11; do
      pkg-config --exists "$library" || missing+=("$library")
    done
  fi
  [ ${#missing[@]} -eq 0 ] || fail "this is not a Debian-like system (no dpkg), so install these (with their headers) yourself: ${missing[*]}"
  step "tools and libraries: all there"
}

is_libtorch() { [ -e "$1/lib/libtorch_cpu.so" ] && [ -e "$1/include/ATen/core/Tensor.h" ]; }

# Folder of the active Python's torch if its version will do. It is found without importing it.
python_torch() {
  python3 - <<'PYTHON' 2>/dev/null
import importlib.util, pathlib, re
spec = importlib.util.find_spec("torch")
folder = pathlib.Path(list(spec.submodule_search_locations)[0])
found = re.search(r"^__version__\s*(?::[^=]*)?=\s*['\"](\d+)\.(\d+)", (folder / "version.py").read_text(), re.MULTILINE)
if (2, 11) <= tuple(map(int, found.groups())) < (2, 16):
    print(folder)
PYTHON
}

wheel_is_complete() {
  is_libtorch "$wheel_folder/torch" && grep -q "^__version__ = '$torch_version" "$wheel_folder/torch/version.py" 2>/dev/null &&
    [ -e "$wheel_folder/nvidia/cu13/lib/libcudart.so.13" ]
}

# A Python with pip: the active one, else Debian's.
find_pip() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -m pip --version >/dev/null 2>&1; then
      printf '%s\n' "$python"
      return
    fi
  done
  fail "no python3 with pip: needed once, to fetch LibTorch. Install python3-pip, or pass -DLIBTORCH_ROOT=DIR."
}

# Downloads beside the final place and renames at the end, so that an interrupted download is not taken for a whole one.
install_wheel() {
  mkdir -p .deps
  exec {lock}>.deps/lock
  flock "$lock"
  ! wheel_is_complete || return 0
  local python
  python=$(find_pip)
  step "LibTorch: installing ${wheels[*]} into $wheel_folder (about 1.3 GB)"
  local partial log
  rm -rf .deps/partial.*
  partial=$(mktemp -d .deps/partial.XXXXXX)
  log=$(mktemp)
  # shellcheck disable=SC2064
  trap "rm -rf '$PWD/$partial' '$log'" EXIT
  if ! PIP_USER=0 "$python" -m pip install --disable-pip-version-check --no-cache-dir --no-compile --only-binary :all: --no-deps \
    --target "$partial" "${wheels[@]}" >"$log" 2>&1; then
    grep -v '^WARNING' "$log" | tail -n 8 >&2
    fail "pip could not fetch LibTorch (its last lines are above). Without network, copy a LibTorch here and pass -DLIBTORCH_ROOT=DIR."
  fi
  is_libtorch "$partial/torch" || fail "the wheel torch==$torch_version holds no LibTorch where it is expected (torch/lib, torch/include)"
  rm -rf "$wheel_folder"
  mv "$partial" "$wheel_folder"
  chmod 755 "$wheel_folder"
  rm -f "$log"
  trap - EXIT
}

find_libtorch() {
  if [ -n "$libtorch" ]; then
    [[ $libtorch = /* ]] || libtorch=$caller/$libtorch
    is_libtorch "$libtorch" || fail "LIBTORCH_ROOT=$libtorch is no LibTorch: expected lib/libtorch_cpu.so and include/ATen/core/Tensor.h in it"
    libtorch=$(cd "$libtorch" && pwd)
  else
    libtorch=$(python_torch || true)
    if [ -z "$libtorch" ] || ! is_libtorch "$libtorch"; then
      wheel_is_complete || install_wheel
      libtorch=$PWD/$wheel_folder/torch
    fi
  fi
  step "LibTorch: $libtorch"
}

configure() {
  local log=build/$preset/configure.log
  mkdir -p "build/$preset"
  if ! cmake --preset "$preset" -DLIBTORCH_ROOT="$libtorch" "${cmake_arguments[@]}" >"$log" 2>&1; then
    tail -n 25 "$log" >&2
    fail "CMake could not configure the preset $preset (its last lines are above; all of them: $log)"
  fi
  step "configured: build/$preset"
}

# One job a core, but no more than memory has room for at 2 GB each.
build_jobs() {
  local cores free_kb limit
  cores=$(nproc)
  free_kb=$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo)
  limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || true)
  if [[ $limit =~ ^[0-9]+$ ]] && [ $((limit / 1024)) -lt "$free_kb" ]; then
    free_kb=$((limit / 1024))
  fi
  local by_memory=$((free_kb / 2000000))
  [ "$by_memory" -ge 1 ] || by_memory=1
  printf '%d\n' $((by_memory < cores ? by_memory : cores))
}

build() {
  local jobs
  jobs=$(build_jobs)
  step "building with $jobs job(s)"
  cmake --build "build/$preset" -j "$jobs" "${targets[@]}" >&2 || fail "the build of preset $preset failed (see above)"
  step "built: build/$preset/bin/"
}

read_arguments "$@"
check_machine
if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then install_packages; else check_tools; fi
find_libtorch
configure
build
