#include "app/sample_hook.h"

#include <ATen/ATen.h>

#include <array>
#include <cstdio>

#include "app/pipeline_base.h"
#include "app/run_folder.h"
#include "lora/base/counted.h"
#include "lora/base/file.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/base/random.h"
#include "lora/image/encode_png.h"

namespace lora::app {

namespace {

std::string image_name(int64_t step, size_t prompt) {
  std::array<char, 64> name;
  std::snprintf(name.data(), name.size(), "step-%06lld-%zu.png", static_cast<long long>(step), prompt + 1);
  return name.data();
}

}  // namespace

SampleHook::SampleHook(const config::RunConfig& config, const nn::Model& network)
    : pipeline_(pipeline_options(config.model)),
      network_(network),
      folder_(config.output_dir / kSamplesFolder),
      every_(config.training.denoising.sample->every) {
  const train::SampleOptions& own = *config.training.denoising.sample;
  const int64_t downscale = open_decoder(pipeline_, at::kCPU).downscale();
  options_.steps = own.steps;
  options_.zero_snr = config.training.denoising.rescale_betas_zero_snr;
  options_.guidance = own.guidance_scale.value_or(default_guidance(pipeline_));
  options_.width = options_.height = default_side(pipeline_, downscale);
  require_no_negative(pipeline_, own.negative_prompt, "training.sample.negative_prompt");
  make_image_sampler(pipeline_, options_, downscale);  // what it refuses is reported before the run begins
  const diffusion::TextEncoders encoders(pipeline_, at::TensorOptions(at::kFloat).device(network.device()));
  for (const std::string& prompt : own.prompts) {
    prompts_.push_back(diffusion::encode_prompt(pipeline_, encoders, {prompt, own.negative_prompt, options_.height, options_.width}));
  }
  options_.seed = config.training.seed;
}

bool SampleHook::on_step(const train::StepReport& report, train::TrainerState&) {
  if (report.step % every_ == 0) {
    write(report.step);
  }
  return false;
}

void SampleHook::on_end(train::TrainerState& state) {
  if (written_ != state.step) {
    write(state.step);
  }
}

/// A signal leaves out the rest of the images: the trainer ends the run after its hooks, and only then writes the checkpoint.
void SampleHook::write(int64_t step) {
  try {
    write_images(step);
  } catch (const Interrupted&) {
    log::end_progress();
  }
}

void SampleHook::write_images(int64_t step) {
  const auto& network = dynamic_cast<const nn::Denoiser&>(*network_.body);
  const diffusion::Vae vae = open_decoder(pipeline_, network_.device());
  fs::create_directories(folder_);
  for (size_t i = 0; i < prompts_.size(); ++i) {
    ImageOptions options = options_;
    options.seed = mix64(options_.seed, i);
    const at::Tensor latents = sample_image(network, pipeline_, prompts_[i], options, vae.downscale(), network_.device());
    write_file_atomically(folder_ / image_name(step, i), image::encode_png(to_bytes(vae.decode(latents)[0])));
  }
  log::info("wrote " + counted(static_cast<int64_t>(prompts_.size()), "image") + " of step " + std::to_string(step) + " to " +
            folder_.string());
  written_ = step;
}

}  // namespace lora::app
