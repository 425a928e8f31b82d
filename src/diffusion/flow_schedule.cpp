#include "lora/diffusion/flow_schedule.h"

#include <ATen/ATen.h>

#include "diffusion/flow_config.h"

// Suffixes: N images, C channels, H and W their sides, T timesteps of training.

namespace lora::diffusion {

FlowSchedule::FlowSchedule(const JsonReader& config) {
  const FlowConfig own = read_flow_config(config);
  sigmas_ = at::arange(1, own.num_timesteps + 1, at::kFloat) / static_cast<double>(own.num_timesteps);
  if (!own.shifts_by_size) {
    sigmas_ = own.shift * sigmas_ / (1 + (own.shift - 1) * sigmas_);
  }
}

Tensor FlowSchedule::sigmas(const Tensor& timesteps_N) const {
  return sigmas_.to(timesteps_N.device()).index_select(0, timesteps_N);
}

Tensor FlowSchedule::network_times(const Tensor& timesteps_N) const {
  return sigmas(timesteps_N) * static_cast<double>(num_timesteps());
}

Tensor FlowSchedule::add_noise(const Tensor& latents_NCHW, const Tensor& noise_NCHW, const Tensor& timesteps_N) const {
  const Tensor sigma = sigmas(timesteps_N).view({-1, 1, 1, 1});
  return (1.0 - sigma) * latents_NCHW + sigma * noise_NCHW;
}

Tensor FlowSchedule::target(const Tensor& latents_NCHW, const Tensor& noise_NCHW, const Tensor&) const {
  return noise_NCHW - latents_NCHW;
}

}  // namespace lora::diffusion
