#!/usr/bin/env bash
# The demo: makes a small base model with lora-train itself, then teaches it a second task with LoRA.
#   scripts/demo/run.sh [--short]
# Everything is written below build/demo (--short: build/demo-short), which is removed first. --short takes seconds
# instead of minutes, for tests. LORA_TRAIN names another binary than build/release/bin/lora-train. Exit code 1 if the
# held-out loss does not fall as it must.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

work=build/demo
corpus=()
pretrain=()
lora=()
least_fall=4  # held-out loss before LoRA over the loss after
case ${1:-} in
  "") ;;
  --short)
    work=build/demo-short
    corpus=(--stories 1500 --reports 800)
    pretrain=(--set training.max_steps=120 --set training.per_device_train_batch_size=6 --set training.learning_rate=4e-3 --set training.logging_steps=40)
    lora=(--set training.max_steps=70 --set training.per_device_train_batch_size=8 --set training.learning_rate=4e-3 --set training.logging_steps=35
      --set training.eval_steps=null)
    least_fall=2
    ;;
  *) fail "unknown option '$1': expected nothing or --short" ;;
esac

tool=${LORA_TRAIN:-build/release/bin/lora-train}
[ -x "$tool" ] || fail "$tool is not there: run scripts/build.sh first"
command -v spm_train >/dev/null || fail "spm_train is not on the PATH: it makes the tokenizer (Debian package sentencepiece; scripts/build.sh installs it)"

rm -rf "$work"
mkdir -p "$work/base-config"
step "demo 1/5: data: stories in a small language, and reports about stories"
python3 scripts/demo/make_corpus.py "$work/data" "${corpus[@]}" >&2

step "demo 2/5: tokenizer: SentencePiece, trained on the stories"
log=$work/spm_train.log
spm_train --input="$work/data/stories.txt" --model_prefix="$work/base-config/tokenizer" --model_type=bpe --vocab_size=1024 --hard_vocab_limit=false \
  --byte_fallback=true --character_coverage=1 --unk_id=0 --bos_id=1 --eos_id=2 --pad_id=-1 >"$log" 2>&1 || { tail -n 5 "$log" >&2 && fail "spm_train failed (log: $log)"; }
rm "$work/base-config/tokenizer.vocab"
cp scripts/demo/base-config.json "$work/base-config/config.json"
cp scripts/demo/tokenizer_config.json "$work/base-config/"
cp scripts/demo/pretrain.json scripts/demo/lora.json "$work/"

step "demo 3/5: base model: random weights, trained in full on the stories ($tool --config $work/pretrain.json)"
"$tool" --config "$work/pretrain.json" "${pretrain[@]}"

step "demo 4/5: LoRA on the frozen base: reports, which the base has never seen ($tool --config $work/lora.json)"
"$tool" --config "$work/lora.json" "${lora[@]}"

step "demo 5/5: result"
python3 scripts/demo/summary.py "$work" --least-fall "$least_fall"
