#pragma once
#include <ATen/core/Tensor.h>

#include "lora/nn/pass.h"

namespace lora::nn {

/// A network that predicts what a noisy image consists of: a diffusion model's UNet or transformer. Where sizes are counted in tokens
/// (Body::pass_memory), these are the places H * W of latents.
class Denoiser {
 public:
  virtual ~Denoiser() = default;

  /// The prediction [N, C, H, W] (noise or velocity, as the model was trained), in the network's dtype, for noisy latents [N, C, H, W] at
  /// timesteps [N]: int64, or float32 for those between, and for flow matching, where they are 1000 times the share of noise. `pass` has
  /// the random keys of the images.
  virtual Tensor predict(const Tensor& latents_NCHW, const Tensor& timesteps_N, const ImageCondition& condition,
                         const Pass& pass) const = 0;
  /// Whether the guidance scale is one of its inputs (ImageCondition::guidance_N); it then needs no second pass without the text.
  virtual bool takes_guidance() const { return false; }
  /// Channels of the latents.
  virtual int64_t latent_channels() const = 0;
  /// What both sides of latents must be multiples of.
  virtual int64_t side_multiple() const { return 1; }
};

}  // namespace lora::nn
