#pragma once
#include <ATen/core/Tensor.h>

#include "lora/nn/pass.h"

namespace lora::nn {

/// What an image is to show, for the network that removes noise from it. N images, S positions of text, D channels of text states,
/// P channels of the pooled text.
struct ImageCondition {
  Tensor states_NSD;   ///< hidden states of the text encoders
  Tensor pooled_NP;    ///< pooled text (SDXL); undefined: the network has no input for it
  Tensor time_ids_N6;  ///< SDXL: original height and width, top and left of the crop, target height and width; undefined as above
};

/// A network that predicts what a noisy image consists of: a diffusion model's UNet or transformer.
class Denoiser {
 public:
  virtual ~Denoiser() = default;

  /// The prediction [N, C, H, W] (noise or velocity, as the model was trained) for noisy latents [N, C, H, W] at int64 timesteps [N],
  /// in the network's dtype. `pass` has the random keys of the images.
  virtual Tensor predict(const Tensor& latents_NCHW, const Tensor& timesteps_N, const ImageCondition& condition,
                         const Pass& pass) const = 0;
  /// Channels of the latents.
  virtual int64_t latent_channels() const = 0;
};

}  // namespace lora::nn
