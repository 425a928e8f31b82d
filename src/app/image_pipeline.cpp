// N images, C channels, H and W sides.
#include "app/image_pipeline.h"

#include <ATen/ATen.h>

#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/base/random.h"

namespace lora::app {

namespace {

using at::Tensor;

constexpr int64_t kPatchSide = 2;  // of the transformers that are trained by flow matching, in latents

// Distinguish the uses of an image's seed.
constexpr uint64_t kStartNoise = 0x57a7, kStepNoise = 0x57e9;

Tensor noise_of(const std::vector<int64_t>& shape, uint64_t key, const at::Device& device) {
  const Tensor noise = at::empty(shape, at::kFloat);
  fill_normal({noise.mutable_data_ptr<float>(), static_cast<size_t>(noise.numel())}, key);
  return noise.to(device);
}

/// Whether it is FLUX.1-dev, distilled from a network that was asked with and without the text.
bool takes_guidance(const diffusion::Pipeline& pipeline) {
  return pipeline.family() == diffusion::PipelineFamily::kFlux && pipeline.config(pipeline.network()).json.value("guidance_embeds", false);
}

}  // namespace

double default_guidance(const diffusion::Pipeline& pipeline) {
  switch (pipeline.family()) {
    case diffusion::PipelineFamily::kStableDiffusion:
      break;
    case diffusion::PipelineFamily::kStableDiffusionXl:
      return 5.0;
    case diffusion::PipelineFamily::kStableDiffusion3:
      return 7.0;
    case diffusion::PipelineFamily::kFlux:
      return takes_guidance(pipeline) ? 3.5 : 1.0;
  }
  return 7.5;
}

void require_no_negative(const diffusion::Pipeline& pipeline, const std::optional<std::string>& negative, const std::string& place) {
  if (negative && takes_guidance(pipeline)) {
    config_error(place, "found a text, expected none: the network takes the guidance scale as an input and runs only with the prompt "
                        "(guidance_embeds in its config)");
  }
}

int64_t pixels_per_latent(const diffusion::Pipeline& pipeline) {
  const Json levels = pipeline.config(diffusion::kVae).json.value("block_out_channels", Json::array({0}));
  return int64_t{1} << (levels.size() - 1);
}

int64_t default_side(const diffusion::Pipeline& pipeline, int64_t downscale) {
  const int64_t latent_side = pipeline.family() == diffusion::PipelineFamily::kFlux ? 128 : 64;
  const Json size = pipeline.config(pipeline.network()).json.value("sample_size", Json(latent_side));
  return downscale * (size.is_number_integer() ? size.get<int64_t>() : latent_side);
}

int64_t side_step(const diffusion::Pipeline& pipeline, int64_t downscale) {
  return pipeline.network() == diffusion::kTransformer ? kPatchSide * downscale : downscale;
}

diffusion::Vae open_decoder(const diffusion::Pipeline& pipeline, const at::Device& device) {
  const diffusion::ComponentConfig config = pipeline.config(diffusion::kVae);
  const std::unique_ptr<io::Checkpoint> weights = pipeline.weights(diffusion::kVae);
  return {config.json, config.where, *weights, at::TensorOptions(at::kFloat).device(device), diffusion::VaeParts::kDecoder};
}

std::unique_ptr<diffusion::Sampler> make_image_sampler(const diffusion::Pipeline& pipeline, const ImageOptions& options,
                                                       int64_t downscale) {
  diffusion::ComponentConfig config = pipeline.config(diffusion::kScheduler);
  if (diffusion::is_flow_matching(config.reader())) {
    if (options.sampler && *options.sampler != diffusion::SamplerKind::kFlowEuler) {
      config_error("--sampler", "found " + std::string(diffusion::kSamplerKinds.name(*options.sampler)) +
                                    ", expected flow_euler or none: the pipeline's network was trained by flow matching");
    }
    const int64_t side = side_step(pipeline, downscale);
    return diffusion::make_flow_sampler(config.reader(),
                                        {.count = options.steps,
                                         .patches = (options.height / side) * (options.width / side),
                                         .ends_at_one_step = pipeline.family() == diffusion::PipelineFamily::kFlux});
  }
  if (options.zero_snr) {
    config.json["rescale_betas_zero_snr"] = *options.zero_snr;
  }
  const diffusion::NoiseSchedule schedule(config.reader());
  return diffusion::make_sampler(options.sampler.value_or(diffusion::SamplerKind::kDdim), config.reader(), schedule, options.steps);
}

Tensor sample_image(const nn::Denoiser& network, const diffusion::Pipeline& pipeline, const diffusion::EncodedPrompt& prompt,
                    const ImageOptions& options, int64_t downscale, const at::Device& device) {
  const std::unique_ptr<diffusion::Sampler> sampler = make_image_sampler(pipeline, options, downscale);
  const std::vector<int64_t> shape{1, network.latent_channels(), options.height / downscale, options.width / downscale};
  diffusion::SamplingCalls calls;
  calls.noise = [&](int64_t step) {
    return noise_of(shape, mix64(mix64(options.seed, kStepNoise), static_cast<uint64_t>(step)), device);
  };
  calls.after_step = [&](int64_t step, const Tensor&) {
    throw_if_interrupted();
    log::progress("step " + std::to_string(step + 1) + " of " + std::to_string(sampler->num_steps()));
  };
  diffusion::Guidance guidance{prompt.condition, prompt.negative, options.guidance};
  if (network.takes_guidance()) {
    guidance.condition.guidance_N = at::full({1}, options.guidance, at::TensorOptions(at::kFloat).device(device));
    guidance.scale = 1.0;
  }
  return diffusion::sample_latents(network, *sampler, guidance, noise_of(shape, mix64(options.seed, kStartNoise), device), calls);
}

image::Image to_bytes(const Tensor& image_3HW) {
  const Tensor shares = (image_3HW.to(at::kCPU, at::kFloat) / 2 + 0.5).clamp(0, 1);
  const Tensor bytes = (shares * 255).round().to(at::kByte).permute({1, 2, 0}).contiguous();
  const auto* const first = bytes.data_ptr<uint8_t>();
  return {{bytes.size(1), bytes.size(0)}, {first, first + bytes.numel()}};
}

}  // namespace lora::app
