// N images.
#include "lora/diffusion/prompts.h"

#include <ATen/ATen.h>

namespace lora::diffusion {

EncodedPrompt encode_prompt(const Pipeline& pipeline, const TextEncoders& encoders, const ImagePrompt& prompt) {
  const CaptionTokenizers tokenizers(pipeline);
  const CaptionIds ids = tokenizers.encode(prompt.text);
  EncodedPrompt encoded{encoders.encode({ids}), {}, ids.num_cut};
  if (!prompt.negative && pipeline.forces_zeros_for_empty_prompt()) {
    encoded.negative.states_NSD = at::zeros_like(encoded.condition.states_NSD);
    encoded.negative.pooled_NP = at::zeros_like(encoded.condition.pooled_NP);
  } else {
    const CaptionIds negative = tokenizers.encode(prompt.negative.value_or(""));
    encoded.negative = encoders.encode({negative});
    encoded.num_cut_negative = negative.num_cut;
  }
  if (encoded.condition.pooled_NP.defined()) {
    const auto height = static_cast<float>(prompt.height), width = static_cast<float>(prompt.width);
    const at::Tensor ids_N6 = at::tensor({height, width, 0.0F, 0.0F, height, width}).unsqueeze(0);
    encoded.condition.time_ids_N6 = encoded.negative.time_ids_N6 = ids_N6.to(encoded.condition.states_NSD.device());
  }
  return encoded;
}

}  // namespace lora::diffusion
