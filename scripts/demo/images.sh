#!/usr/bin/env bash
# The demo of text-to-image models: trains a small Stable Diffusion pipeline on drawings, then LoRA on drawings in another style, and writes
# build/demo-images/sheet.png: the same prompts before and after. Takes a few minutes on 2 cores and needs no network, only Python.
#   scripts/demo/images.sh
# build/demo-images is removed first. LORA_TRAIN names another binary than build/release/bin/lora-train; lora-generate is expected next to
# it. Exit code 1 if the loss on held-out drawings in the new style does not fall by half.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

train=${LORA_TRAIN:-build/release/bin/lora-train}
generate=$(dirname "$train")/lora-generate
for program in "$train" "$generate"; do
  [ -x "$program" ] || fail "$program does not exist. Run scripts/build.sh first."
done
[ $# -eq 0 ] || fail "unknown option '$1': expected none"
work=build/demo-images
# No star and no heart is among the drawings for LoRA.
prompts=("a red circle" "a yellow square" "a blue moon" "a green star" "a pink heart" "a cyan star")

# One image for each prompt, into FOLDER, with the same noise each time.
#   draw FOLDER [OPTION OF lora-generate]...
draw() {
  local folder=$1 number
  shift
  mkdir -p "$folder"
  for number in "${!prompts[@]}"; do
    "$generate" --quiet --image --model "$work/base" --prompt "${prompts[number]}" --output "$folder/$number.png" \
      --steps 25 --guidance 3 --seed "$((number + 1))" --device cpu "$@"
  done
}

rm -rf "$work"
mkdir -p "$work"
step "demo 1/5: drawings with captions, and a pipeline whose UNet has no weights yet"
python3 scripts/demo/image_drawings.py "$work/drawings" >&2
python3 scripts/demo/image_pipeline.py "$work/pipeline"
cp scripts/demo/image_base.json scripts/demo/image_lora.json "$work/"

step "demo 2/5: base model: random weights, all of them trained on filled shapes ($train --config $work/image_base.json)"
"$train" --config "$work/image_base.json"

step "demo 3/5: LoRA on drawings in another style ($train --config $work/image_lora.json)"
"$train" --config "$work/image_lora.json"

step "demo 4/5: images of the same prompts, without and with the adapter"
draw "$work/before"
draw "$work/after" --adapter "$work/adapter"

step "demo 5/5: result"
examples=(000.png 007.png 014.png 021.png 028.png 035.png) # another shape and another colour each
python3 scripts/demo/image_sheet.py "$work/sheet.png" --labels "${prompts[@]}" \
  --row "drawings for the base model" "${examples[@]/#/$work/drawings/base/}" \
  --row "base model*" "$work"/before/*.png \
  --row "drawings for lora" "${examples[@]/#/$work/drawings/style/}" \
  --row "base model with lora*" "$work"/after/*.png
python3 scripts/demo/image_losses.py "$work/adapter/metrics.jsonl"
cat <<TEXT

  contact sheet  $work/sheet.png

What to type next:
  another image      $generate --image --model $work/base --adapter $work/adapter --prompt "a green cross" --output cross.png
  less of the style  the same with --weight 0.5
  load in Python     StableDiffusionPipeline.from_pretrained("$work/base", safety_checker=None, feature_extractor=None)
TEXT
