#!/usr/bin/env bash
# Installs what is missing and builds into build/<preset>/bin/. Safe to run again: what is installed is left alone.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
  cat <<'TEXT'
usage: scripts/build.sh [PRESET] [--target NAME]... [-DNAME=VALUE]...

  PRESET              release (default), dev, asan (address and undefined-behaviour sanitizers) or tidy (clang-tidy)
  --target NAME       Build only this target (repeatable; default: everything)
  -DNAME=VALUE        Option for CMake; -DLIBTORCH_ROOT=DIR is a folder with the include/ and lib/ of LibTorch 2.11 to 2.15

Programs are built into build/PRESET/bin/. LibTorch is taken from -DLIBTORCH_ROOT, else from $LIBTORCH_ROOT, else from torch 2.11 to
2.15 of the python3 on the PATH, else the pinned wheel is downloaded into .deps/torch (about 1.3 GB).
TEXT
}

# The wheel's libtorch_cpu.so (x86-64 and aarch64) needs these two CUDA libraries and no others.
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
        printf "error: '%s' is neither a preset (release, dev, asan, tidy) nor an option of this script\n" "$1" >&2
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
  [ "$system" = Linux ] || fail "unsupported system: found $system, expected Linux. The LibTorch wheels used here are for Linux."
  case $machine in
    x86_64 | aarch64) ;;
    *) fail "unsupported architecture: found $machine, expected x86_64 or aarch64. There is no LibTorch wheel for it." ;;
  esac
  getconf GNU_LIBC_VERSION >/dev/null 2>&1 ||
    fail "unsupported C library: expected glibc, as there is no LibTorch for musl. Use a Debian or Ubuntu image."
  step "machine: $system $machine, $(getconf GNU_LIBC_VERSION)"
}

# The Debian packages that the preset needs and that are not installed.
missing_packages() {
  local needed=(g++ cmake ninja-build git pkg-config python3 python3-pip ccache libcli11-dev nlohmann-json3-dev libspdlog-dev
    libsentencepiece-dev sentencepiece libgtest-dev libgmock-dev libssl-dev libpcre2-dev libicu-dev zlib1g-dev
    libjpeg62-turbo-dev libpng-dev libwebp-dev)
  [ "$preset" != tidy ] || needed+=(clang-tidy)
  local installed package
  installed=$({ dpkg-query --show --showformat '${db:Status-Abbrev}${Package}\n' "${needed[@]}" 2>/dev/null || true; } | sed -n 's/^.i //p')
  installed=" ${installed//$'\n'/ } "
  for package in "${needed[@]}"; do
    [[ $installed == *" $package "* ]] || printf '%s\n' "$package"
  done
}

# Sets `as_root` to the command that runs another as root (empty for root itself).
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
    step "packages: all installed"
    return
  fi
  local command="apt-get update && apt-get install --yes --no-install-recommends ${missing[*]}"
  find_root || fail "Debian packages are missing, and this user is neither root nor allowed to use sudo. Ask an administrator to run:
  $command"
  step "packages: installing ${missing[*]}"
  local log
  log=$(mktemp)
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}")
  if ! { "${as_root[@]}" apt-get update && "${as_root[@]}" "${install[@]}"; } >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    rm -f "$log"
    fail "apt-get could not install the packages (its last lines are above). Without a network, install them another way: ${missing[*]}"
  fi
  rm -f "$log"
}

# On systems without dpkg: names what is missing and leaves its installation to the user.
check_tools() {
  local missing=() tool library
  for tool in g++ cmake ninja git pkg-config python3; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  [ "$preset" != tidy ] || command -v clang-tidy >/dev/null || missing+=(clang-tidy)
  if command -v pkg-config >/dev/null; then
    for library in sentencepiece spdlog nlohmann_json libpcre2-8 icu-uc libcrypto zlib libjpeg libpng16 libwebp libwebpdemux gtest gmock CLI11; do
      pkg-config --exists "$library" || missing+=("$library")
    done
  fi
  [ ${#missing[@]} -eq 0 ] ||
    fail "this is not a Debian-like system (it has no dpkg), so please install these, with their headers: ${missing[*]}"
  step "tools and libraries: all installed"
}

is_libtorch() { [ -e "$1/lib/libtorch_cpu.so" ] && [ -e "$1/include/ATen/core/Tensor.h" ]; }

# Folder of the active Python's torch if its version is supported. It is found without importing it.
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

install_wheel() {
  lock_deps
  ! wheel_is_complete || return 0
  local python
  python=$(find_pip) ||
    fail "no python3 with pip was found, which is needed to download LibTorch. Install python3-pip, or pass -DLIBTORCH_ROOT=DIR."
  step "LibTorch: downloading ${wheels[*]} into $wheel_folder (about 1.3 GB)"
  install_wheels "$python" "$wheel_folder" "${wheels[@]}" ||
    fail "pip could not download LibTorch (its last lines are above). Without a network, copy a LibTorch here and pass -DLIBTORCH_ROOT=DIR."
  is_libtorch "$wheel_folder/torch" ||
    fail "the wheel torch==$torch_version has no LibTorch where it is expected (torch/lib, torch/include)"
}

find_libtorch() {
  if [ -n "$libtorch" ]; then
    [[ $libtorch = /* ]] || libtorch=$caller/$libtorch
    is_libtorch "$libtorch" ||
      fail "LIBTORCH_ROOT=$libtorch is not a LibTorch: expected lib/libtorch_cpu.so and include/ATen/core/Tensor.h in it"
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
    fail "CMake could not configure the preset $preset (its last lines are above, all of them in $log)"
  fi
  step "configured: build/$preset"
}

# One job per core, but no more than memory allows at 2 GB each.
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
  local jobs log=build/$preset/build.log
  jobs=$(build_jobs)
  step "building with $jobs job(s) (log: $log)"
  NINJA_STATUS="[%f/%t] " cmake --build "build/$preset" -j "$jobs" "${targets[@]}" 2>&1 | show_progress "built" "$log" ||
    fail "the build of preset $preset failed (see the errors above, or $log)"
  step "built: build/$preset/bin/"
}

read_arguments "$@"
check_machine
if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then install_packages; else check_tools; fi
find_libtorch
configure
build
