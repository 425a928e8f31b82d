#!/usr/bin/env bash
# Runs every ```sh block of docs/recipes.md, in order, in a folder with a small base model and data.
#   run_recipes.sh SOURCE_DIR BIN_DIR
set -euo pipefail
source_dir=$1 PATH=$2:$PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The language of the tiny demo. A model trained for a few steps is enough to see that every command works.
python3 "$source_dir/scripts/demo/make_corpus.py" "$work/corpus" --stories 300 --reports 200 >&2
mkdir "$work/config" "$work/data"
cp "$source_dir/scripts/demo/tokenizer_config.json" "$work/config/"
cp "$source_dir/scripts/demo/base-config.json" "$work/config/config.json"
spm_train --input="$work/corpus/stories.txt" --model_prefix="$work/config/tokenizer" --model_type=bpe --vocab_size=1024 \
  --hard_vocab_limit=false --byte_fallback=true --unk_id=0 --bos_id=1 --eos_id=2 --pad_id=-1 2>/dev/null
cp "$work/corpus/reports-train.jsonl" "$work/data/train.jsonl"
head -n 40 "$work/corpus/reports-eval.jsonl" >"$work/data/eval.jsonl"
cat >"$work/pretrain.json" <<'JSON'
{"model": {"path": "config", "from_scratch": true}, "adapter": null,
 "data": {"train": [{"path": "corpus/stories-train.jsonl", "format": "text"}]},
 "training": {"max_steps": 5, "per_device_train_batch_size": 4, "learning_rate": 2e-3, "save_steps": 0}, "output_dir": "base"}
JSON
lora-train --config "$work/pretrain.json" --quiet

awk '/^```sh$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$source_dir/docs/recipes.md" >"$work/recipes.sh"
[ -s "$work/recipes.sh" ] || { echo "docs/recipes.md has no sh block" >&2 && exit 1; }
cd "$work"
bash -exuo pipefail recipes.sh
