# The demo on the real model. run.sh sources this file after fetch.sh.
# shellcheck shell=bash disable=SC2154

question="Does a kitchen renovation qualify for ROT?"
work=build/demo
model=.deps/demo/SmolLM2-135M-Instruct
generate=$(dirname "$train")/lora-generate
[ -x "$generate" ] || fail "$generate does not exist. Run scripts/build.sh first."

# The greedy answer to the question, to standard error as it comes and to FILE.
#   ask FILE [OPTION OF lora-generate]...
ask() {
  local file=$1
  shift
  printf '    Question: %s\n    Answer:   ' "$question" >&2
  "$generate" --quiet --model "$model" --message "$question" --max-new-tokens 90 --device cpu "$@" | tee "$file" >&2
}

rm -rf "$work"
mkdir -p "$work"
step "demo 1/5: rows of the Swedish Construction FAQ by Zaragoza AB (CC BY 4.0)"
python3 scripts/demo/faq_rows.py .deps/demo/packages/zaragoza_construction_faq/data/faq-en.jsonl "$work/data" --ask "$question" >&2
cp scripts/demo/faq_lora.json "$work/"

step "demo 2/5: a held-out question to SmolLM2-135M-Instruct, as it is"
ask "$work/answer-before.txt"

step "demo 3/5: training LoRA on the FAQ, 3 to 5 minutes on 2 cores ($train --config $work/faq_lora.json)"
"$train" --config "$work/faq_lora.json"

step "demo 4/5: the same question, with the adapter"
ask "$work/answer-after.txt" --adapter "$work/adapter"

step "demo 5/5: result"
python3 scripts/demo/summary.py --base "$model" --adapter "$work/adapter" --data "held-out questions" --least-fall 1.2
python3 scripts/demo/faq_answers.py "$work"
cat <<TEXT

The model is very small and has seen each training answer only twice: it has learned the subject and the style of the answers, but
many of its facts are still wrong.

What to type next:
  talk with it           $generate --model $model --adapter $work/adapter --chat
  merge it into a model  $(dirname "$train")/lora-merge --model $model --adapter $work/adapter --output $work/merged
  load it in Python      PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("$model"), "$work/adapter")
  train on your rows     copy $work/faq_lora.json, name your model, your files and another output_dir in it, then
                         $train --config YOUR.json
TEXT
