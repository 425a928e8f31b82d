#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "lora/diffusion/pipeline.h"
#include "lora/diffusion/text_encoders.h"
#include "lora/nn/denoiser.h"

namespace lora::diffusion {

/// What an image is to show, and its size.
struct ImagePrompt {
  std::string text;
  std::optional<std::string> negative;  ///< what it is not to show; none: the empty text, or what the pipeline has in place of it
  int64_t height, width;                ///< in pixels
};

/// The same as a network takes it.
struct EncodedPrompt {
  nn::ImageCondition condition;
  nn::ImageCondition negative;
  int64_t num_cut = 0;           ///< tokens of the text that the encoder with the least room does not see
  int64_t num_cut_negative = 0;  ///< the same of the negative text
};

/// Encodes them as diffusers' pipelines do. Without a negative text a pipeline that says force_zeros_for_empty_prompt has zeros. The sizes
/// that Stable Diffusion XL is told are those of an image that was neither resized nor cropped. Throws data Error for a text that is not
/// valid UTF-8.
EncodedPrompt encode_prompt(const Pipeline& pipeline, const TextEncoders& encoders, const ImagePrompt& prompt);

}  // namespace lora::diffusion
