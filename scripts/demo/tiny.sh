# The demo on a tiny model: trains a base model from random weights, then teaches it a second task with LoRA. run.sh sources this file.
#   tiny.sh [--tiny | --short]
# shellcheck shell=bash disable=SC2154

work=build/demo-tiny
corpus=()
pretrain=()
lora=()
least_fall=4  # held-out loss before LoRA, divided by the loss after it
if [ "${1:-}" = --short ]; then
  work=build/demo-short
  corpus=(--stories 1500 --reports 800)
  pretrain=(--set training.max_steps=120 --set training.per_device_train_batch_size=6 --set training.learning_rate=4e-3
    --set training.logging_steps=40)
  lora=(--set training.max_steps=70 --set training.per_device_train_batch_size=8 --set training.learning_rate=4e-3
    --set training.logging_steps=35 --set training.eval_steps=null)
  least_fall=2
fi
command -v spm_train >/dev/null ||
  fail "spm_train, which trains the tokenizer, is not on the PATH. Install the Debian package sentencepiece (scripts/build.sh does)."

rm -rf "$work"
mkdir -p "$work/base-config"
step "demo 1/5: data: stories in a small language, and reports about stories"
python3 scripts/demo/make_corpus.py "$work/data" "${corpus[@]}" >&2

step "demo 2/5: tokenizer: SentencePiece, trained on the stories"
log=$work/spm_train.log
if ! spm_train --input="$work/data/stories.txt" --model_prefix="$work/base-config/tokenizer" --model_type=bpe --vocab_size=1024 \
  --hard_vocab_limit=false --byte_fallback=true --character_coverage=1 --unk_id=0 --bos_id=1 --eos_id=2 --pad_id=-1 >"$log" 2>&1; then
  tail -n 5 "$log" >&2
  fail "spm_train failed (log: $log)"
fi
rm "$work/base-config/tokenizer.vocab"
cp scripts/demo/base-config.json "$work/base-config/config.json"
cp scripts/demo/tokenizer_config.json "$work/base-config/"
cp scripts/demo/tiny_pretrain.json scripts/demo/tiny_lora.json "$work/"

step "demo 3/5: base model: random weights, all of them trained on the stories ($train --config $work/tiny_pretrain.json)"
"$train" --config "$work/tiny_pretrain.json" "${pretrain[@]}"

step "demo 4/5: LoRA on the frozen base model: reports, which the base has never seen ($train --config $work/tiny_lora.json)"
"$train" --config "$work/tiny_lora.json" "${lora[@]}"

step "demo 5/5: result"
python3 scripts/demo/summary.py --base "$work/base" --adapter "$work/adapter" --data "reports (LoRA)" --least-fall "$least_fall"
