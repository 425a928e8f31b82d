#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "lora/diffusion/pipeline.h"
#include "lora/diffusion/prompts.h"
#include "lora/diffusion/sampler.h"
#include "lora/diffusion/vae.h"
#include "lora/image/image.h"

namespace lora::app {

/// How an image is computed.
struct ImageOptions {
  std::optional<diffusion::SamplerKind> sampler = std::nullopt;  ///< none: DDIM, and for flow matching the only one
  int64_t steps = 50;
  double guidance = 7.5;
  int64_t width = 0, height = 0;  ///< in pixels
  uint64_t seed = 42;
  std::optional<bool> zero_snr = std::nullopt;  ///< replaces rescale_betas_zero_snr of the scheduler's config; none: as that says
};

/// diffusers' default.
double default_guidance(const diffusion::Pipeline& pipeline);

/// Throws config Error naming `place` for a negative prompt of a network that takes the guidance scale as an input (FLUX.1-dev).
void require_no_negative(const diffusion::Pipeline& pipeline, const std::optional<std::string>& negative, const std::string& place);

/// Pixels of a latent's side, by the config of the pipeline's autoencoder.
int64_t pixels_per_latent(const diffusion::Pipeline& pipeline);

/// A side of the images that the pipeline's network was made for, in pixels.
int64_t default_side(const diffusion::Pipeline& pipeline, int64_t downscale);

/// What both sides of images must be multiples of, in pixels.
int64_t side_step(const diffusion::Pipeline& pipeline, int64_t downscale);

/// The autoencoder's half that makes images of latents, in float32.
diffusion::Vae open_decoder(const diffusion::Pipeline& pipeline, const at::Device& device);

/// The sampler of the options, by the config of the pipeline's scheduler. Throws what diffusion::make_sampler and make_flow_sampler throw,
/// and config Error for a sampler of the other kind.
/// @param downscale pixels of a latent's side.
std::unique_ptr<diffusion::Sampler> make_image_sampler(const diffusion::Pipeline& pipeline, const ImageOptions& options, int64_t downscale);

/// The latents [1, C, H, W] of one image, from noise that is a function of the seed, which the CPU draws for every device.
/// @param downscale pixels of a latent's side.
/// Throws Interrupted where the process is asked to stop.
at::Tensor sample_image(const nn::Denoiser& network, const diffusion::Pipeline& pipeline, const diffusion::EncodedPrompt& prompt,
                        const ImageOptions& options, int64_t downscale, const at::Device& device);

/// Values from -1 to 1 as bytes, rounded half to even; what lies outside is cut off. @param image_3HW float32 on any device.
image::Image to_bytes(const at::Tensor& image_3HW);

}  // namespace lora::app
