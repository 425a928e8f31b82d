#!/usr/bin/env bash
# The comparison of ways of adapting: trains each method on the same rows of a real model, at the better of two learning rates and with
# several seeds, and prints one table; results and plots are in the output folder.
#   scripts/compare_methods.sh [--model DIR --train ROWS --test ROWS --format FORMAT --general TEXT.jsonl] [--methods LoRA,DoRA] …
# By default: SmolLM2-135M-Instruct, the demo's FAQ, and definitions of WordNet as general text, downloaded if they are missing. Runs that
# exist are not repeated, so it can be stopped and started again. --help lists the options.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

data=.deps/methods
fetch_data() {
  scripts/demo/fetch.sh
  [ -s "$data/faq-train.jsonl" ] || python3 scripts/demo/faq_rows.py .deps/demo/packages/zaragoza_construction_faq/data/faq-en.jsonl "$data" \
    --ask "Does a kitchen renovation qualify for ROT?" >&2
  if [ ! -s "$data/general.jsonl" ]; then
    step "methods: WordNet's definitions as general text"
    (cd "$data" && apt-get -qq download wordnet-base && dpkg -x wordnet-base_*.deb wordnet)
    python3 scripts/compare_methods/general_text.py "$data/wordnet/usr/share/wordnet" "$data/general.jsonl"
  fi
}

case " $* " in
  *" --model "* | *" --help "*) ;;
  *)
    fetch_data
    set -- --model .deps/demo/SmolLM2-135M-Instruct --train "$data/faq-train.jsonl" --test "$data/faq-eval.jsonl" --format messages \
      --general "$data/general.jsonl" "$@"
    ;;
esac
PYTHONDONTWRITEBYTECODE=1 exec python3 scripts/compare_methods/main.py "$@"
