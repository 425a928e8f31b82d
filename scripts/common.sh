# Functions that the scripts in this folder share: `source` it. Changes to the repository's root; `caller` is the folder before that.
# shellcheck shell=bash

# shellcheck disable=SC2034
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
# Ctrl-C ends the script, not only the program that runs.
trap 'exit 130' INT

# Scripts that call each other count from the start of the first one.
export LORA_SCRIPT_START=${LORA_SCRIPT_START:-$(date +%s)}

# Sets `elapsed` to the time since then, in minutes and seconds.
measure_elapsed() {
  printf -v elapsed '%(%s)T' -1
  elapsed=$((elapsed - LORA_SCRIPT_START))
  printf -v elapsed '%d:%02d' $((elapsed / 60)) $((elapsed % 60))
}

step() {
  local elapsed
  measure_elapsed
  printf '==> [%s] %s\n' "$elapsed" "$*" >&2
}

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Filter for the output of ninja and ctest: their progress becomes one line on a terminal, else one line every 30 seconds.
# Everything else (compiler messages, output of failed tests) is passed on in full. LOG receives all of it.
#   show_progress WHAT LOG
show_progress() {
  local what=$1 log=$2 line part='' done='' shown=$SECONDS terminal=false
  ! [ -t 2 ] || [ "${TERM:-dumb}" = dumb ] || terminal=true
  : >"$log"
  local status
  while true; do
    status=0
    IFS= read -r -t 5 part || status=$?
    line+=$part
    if [ "$status" -gt 128 ]; then # no whole line for 5 seconds
      report_progress
      continue
    fi
    [ "$status" -eq 0 ] || [ -n "$line" ] || break
    printf '%s\n' "$line" >>"$log"
    if [[ $line =~ ^\[([0-9]+)/([0-9]+)\] ]] || [[ $line =~ ^\ *([0-9]+)/([0-9]+)\ Test\ .*\ Passed\  ]]; then
      done="${BASH_REMATCH[1]} of ${BASH_REMATCH[2]}"
      report_progress
    elif ! [[ $line =~ ^\ *Start\ +[0-9]+: ]]; then
      ! $terminal || printf '\r\033[K' >&2
      printf '%s\n' "$line" >&2
    fi
    line=''
  done
  ! $terminal || printf '\r\033[K' >&2
}

# Uses the variables of show_progress.
report_progress() {
  [ -n "$done" ] || return 0
  local elapsed
  measure_elapsed
  if $terminal; then
    printf '\r\033[K    [%s] %s: %s' "$elapsed" "$what" "$done" >&2
  elif [ $((SECONDS - shown)) -ge 30 ]; then
    shown=$SECONDS
    printf '    [%s] %s: %s\n' "$elapsed" "$what" "$done" >&2
  fi
}

# A Python with pip: the active one, else the system's.
find_pip() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -m pip --version >/dev/null 2>&1; then
      printf '%s\n' "$python"
      return
    fi
  done
  return 1
}

# Waits until no other script changes .deps/; held until the script ends.
lock_deps() {
  mkdir -p .deps
  exec {deps_lock}>.deps/lock
  flock "$deps_lock"
}

# Installs wheels, without their dependencies, into FOLDER, which is replaced. Needs lock_deps. They are downloaded into another folder
# that is renamed at the end, so an interrupted download is never taken for a complete one. Prints pip's last lines if it fails.
#   install_wheels PYTHON FOLDER ARGUMENT_OF_PIP...
install_wheels() {
  local python=$1 folder=$2 partial
  shift 2
  rm -rf .deps/partial.*
  # Callers test the result, so errors do not end the script by themselves here.
  partial=$(mktemp -d .deps/partial.XXXXXX) || return 1
  # shellcheck disable=SC2064
  trap "rm -rf '$PWD/$partial'" EXIT
  if ! PIP_USER=0 "$python" -m pip install --disable-pip-version-check --no-cache-dir --no-compile --only-binary :all: --no-deps \
    --target "$partial/wheels" "$@" >"$partial/log" 2>&1; then
    grep -v '^WARNING' "$partial/log" | tail -n 8 >&2
    return 1
  fi
  rm -rf "$folder" && mkdir -p "$(dirname "$folder")" && mv "$partial/wheels" "$folder" && chmod 755 "$folder" || return 1
  rm -rf "$partial"
  trap - EXIT
}
