#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "lora/base/json.h"

namespace lora::diffusion {

using at::Tensor;

/// How training makes noisy images, and what the network is to predict of them. The timesteps of training are numbered from 0, which has
/// the least noise. Tables lie on the CPU; the functions follow the device of their arguments and compute in float32.
class TrainingSchedule {
 public:
  virtual ~TrainingSchedule() = default;

  virtual int64_t num_timesteps() const = 0;
  /// The int64 timesteps [N] in the form in which the network takes them.
  virtual Tensor network_times(const Tensor& timesteps_N) const = 0;
  /// The latents with as much noise as the timesteps have.
  virtual Tensor add_noise(const Tensor& latents_NCHW, const Tensor& noise_NCHW, const Tensor& timesteps_N) const = 0;
  /// What the network is to predict.
  virtual Tensor target(const Tensor& latents_NCHW, const Tensor& noise_NCHW, const Tensor& timesteps_N) const = 0;
};

/// Whether a scheduler_config.json is that of a model trained by flow matching (FlowMatchEulerDiscreteScheduler).
bool is_flow_matching(const JsonReader& config);

/// The schedule of a scheduler_config.json: a FlowSchedule or a NoiseSchedule. Throws what their constructors throw.
std::unique_ptr<const TrainingSchedule> make_training_schedule(const JsonReader& config);

}  // namespace lora::diffusion
