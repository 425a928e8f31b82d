// N images, C channels, H and W sides.
#include <ATen/ATen.h>

#include "lora/diffusion/sampler.h"
#include "lora/nn/pass.h"

namespace lora::diffusion {
namespace {

Tensor both(const Tensor& first, const Tensor& second) {
  return first.defined() ? at::cat({first, second}) : Tensor();
}

/// The negative images before the others, in one batch.
nn::ImageCondition batch_of(const Guidance& guidance, bool guided) {
  if (!guided) {
    return guidance.condition;
  }
  const nn::ImageCondition &negative = guidance.negative, &positive = guidance.condition;
  return {both(negative.states_NSD, positive.states_NSD), both(negative.pooled_NP, positive.pooled_NP),
          both(negative.time_ids_N6, positive.time_ids_N6), both(negative.guidance_N, positive.guidance_N)};
}

}  // namespace

Tensor sample_latents(const nn::Denoiser& network, Sampler& sampler, const Guidance& guidance, const Tensor& noise_NCHW,
                      const SamplingCalls& calls) {
  const at::NoGradGuard no_grad;
  const bool guided = guidance.scale > 1;
  const nn::ImageCondition condition = batch_of(guidance, guided);
  const nn::Pass pass = nn::evaluation_pass(nn::Batch());
  Tensor latents_NCHW = sampler.start(noise_NCHW);
  for (int64_t step = 0; step < sampler.num_steps(); ++step) {
    const Tensor input_NCHW = sampler.network_input(latents_NCHW, step);
    const Tensor inputs_NCHW = guided ? at::cat({input_NCHW, input_NCHW}) : input_NCHW;
    const Tensor timesteps_N = at::full({inputs_NCHW.size(0)}, sampler.timesteps()[static_cast<size_t>(step)], noise_NCHW.options());
    Tensor prediction_NCHW = network.predict(inputs_NCHW, timesteps_N, condition, pass).to(at::kFloat);
    if (guided) {
      const std::vector<Tensor> halves = prediction_NCHW.chunk(2);
      prediction_NCHW = halves[0] + guidance.scale * (halves[1] - halves[0]);
    }
    const Tensor noise = sampler.draws_noise() ? calls.noise(step) : Tensor();
    latents_NCHW = sampler.step(latents_NCHW, prediction_NCHW, noise, step);
    if (calls.after_step) {
      calls.after_step(step, latents_NCHW);
    }
  }
  return latents_NCHW;
}

}  // namespace lora::diffusion
