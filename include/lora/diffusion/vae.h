#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "lora/base/json.h"
#include "lora/io/weight_source.h"

namespace lora::diffusion {

using at::Tensor;

/// The normal distributions of images' latents, as the network takes them: shifted and scaled by the autoencoder's config. A latent is
/// mean + exp(log_variance / 2) · noise.
struct LatentDistribution {
  Tensor mean_NCHW;
  Tensor log_variance_NCHW;
};

/// Which halves of an autoencoder are loaded.
enum class VaeParts { kEncoder, kDecoder, kBoth };

/// The autoencoder between images and latents (diffusers' AutoencoderKL; Rombach et al.: High-Resolution Image Synthesis with Latent
/// Diffusion Models, 2022). It is never trained: nothing here has a gradient. N images, C channels of latents, H and W sides.
class Vae {
 public:
  /// Throws model Error for a config that needs a part which this autoencoder does not have, and for a missing tensor or one of another
  /// shape.
  /// @param config the component's config.json. @param where the file, for messages.
  /// @param options dtype and device of the weights, and of what is computed. Stable Diffusion XL's overflows in float16.
  Vae(const Json& config, const std::string& where, io::WeightSource& source, const at::TensorOptions& options,
      VaeParts parts = VaeParts::kBoth);
  ~Vae();
  Vae(Vae&&) noexcept;

  /// The latents of images [N, 3, H, W] with values from -1 to 1, in float32. H and W are multiples of downscale(). Throws model Error if
  /// a number of the result is not finite.
  LatentDistribution encode(const Tensor& images_N3HW) const;
  /// The images [N, 3, H, W] of latents, in float32; values are about -1 to 1, and not limited to that. Values that are not finite become
  /// -1 with a warning.
  Tensor decode(const Tensor& latents_NCHW) const;

  int64_t latent_channels() const;
  /// Pixels of a latent's side.
  int64_t downscale() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lora::diffusion
