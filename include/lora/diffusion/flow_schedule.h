#pragma once
#include "lora/diffusion/training_schedule.h"

namespace lora::diffusion {

/// Rectified flow (Liu et al.: Flow Straight and Fast, 2023; Esser et al. 2024, section 2): the noisy latents are (1 - sigma) · latents +
/// sigma · noise, and the network predicts noise - latents. Sigmas are those of diffusers' FlowMatchEulerDiscreteScheduler, in which the
/// timestep t here is number T - 1 - t; the network gets sigma · T.
class FlowSchedule : public TrainingSchedule {
 public:
  /// Reads num_train_timesteps, shift and use_dynamic_shifting of a scheduler_config.json. With use_dynamic_shifting training does not
  /// shift, as diffusers' scripts. Throws model Error naming the key for a class of another kind and a value that makes no schedule.
  explicit FlowSchedule(const JsonReader& config);

  int64_t num_timesteps() const override { return sigmas_.numel(); }
  Tensor network_times(const Tensor& timesteps_N) const override;
  Tensor add_noise(const Tensor& latents_NCHW, const Tensor& noise_NCHW, const Tensor& timesteps_N) const override;
  Tensor target(const Tensor& latents_NCHW, const Tensor& noise_NCHW, const Tensor& timesteps_N) const override;

  /// The share of noise at int64 timesteps [N].
  Tensor sigmas(const Tensor& timesteps_N) const;
  /// The same of all timesteps, rising to 1.
  const Tensor& sigmas_T() const { return sigmas_; }

 private:
  Tensor sigmas_;
};

}  // namespace lora::diffusion
