#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

#include "lora/diffusion/pipeline.h"
#include "lora/diffusion/sampler.h"
#include "lora/diffusion/text_encoders.h"
#include "lora/image/image.h"

namespace lora::app {

/// How an image is computed.
struct ImageOptions {
  diffusion::SamplerKind sampler = diffusion::SamplerKind::kDdim;
  int64_t steps = 50;
  double guidance = 7.5;
  int64_t width = 0, height = 0;  ///< in pixels
  uint64_t seed = 42;
};

/// The texts of an image as the network takes them.
struct EncodedPrompt {
  nn::ImageCondition positive;
  nn::ImageCondition negative;
};

/// Encodes the prompts, and with them the image's size for Stable Diffusion XL. Without a negative prompt that is the empty one, or zeros
/// where the pipeline says so. Warns of a prompt that is longer than the encoders see.
EncodedPrompt encode_prompt(const diffusion::Pipeline& pipeline, const diffusion::TextEncoders& encoders, const std::string& prompt,
                            const std::optional<std::string>& negative_prompt, const ImageOptions& options);

/// The latents [1, C, H, W] of one image, from noise that is a function of the seed, which the CPU draws for every device.
/// @param downscale pixels of a latent's side.
/// Throws Interrupted where the process is asked to stop.
at::Tensor sample_image(const nn::Denoiser& network, const diffusion::Pipeline& pipeline, const EncodedPrompt& prompt,
                        const ImageOptions& options, int64_t downscale, const at::Device& device);

/// Values from -1 to 1 as bytes, rounded half to even; what lies outside is cut off. @param image_3HW float32 on any device.
image::Image to_bytes(const at::Tensor& image_3HW);

}  // namespace lora::app
