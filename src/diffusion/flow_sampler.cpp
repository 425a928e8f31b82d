// N images, C channels, H and W sides.
#include <ATen/ATen.h>

#include <cmath>

#include "diffusion/flow_config.h"
#include "lora/base/error.h"
#include "lora/diffusion/sampler.h"

namespace lora::diffusion {

namespace {

double shifted(double sigma, const FlowConfig& config, int64_t patches) {
  if (!config.shifts_by_size) {
    return config.shift * sigma / (1 + (config.shift - 1) * sigma);
  }
  const double slope = (config.max_shift - config.base_shift) / static_cast<double>(config.max_patches - config.base_patches);
  const double mu = config.base_shift + slope * static_cast<double>(patches - config.base_patches);
  const double factor = config.is_linear ? mu : std::exp(mu);
  return factor / (factor + (1 / sigma - 1));
}

/// Falling to 0, which is the last. diffusers' scheduler begins with the smallest sigma of training, which is shifted already, and shifts
/// again.
std::vector<float> flow_sigmas(const FlowConfig& config, const FlowSteps& steps) {
  const double count = static_cast<double>(config.num_timesteps), least = 1 / count;
  const auto of_training = static_cast<float>(config.shifts_by_size ? least : shifted(least, config, 0));
  const double last = steps.ends_at_one_step ? 1 / static_cast<double>(steps.count) : static_cast<double>(of_training);
  std::vector<float> sigmas;
  for (int64_t i = 0; i < steps.count; ++i) {
    const double share = steps.count == 1 ? 0.0 : static_cast<double>(i) / static_cast<double>(steps.count - 1);
    sigmas.push_back(static_cast<float>(shifted(1 + share * (last - 1), config, steps.patches)));
  }
  sigmas.push_back(0);
  return sigmas;
}

std::vector<double> network_times(const std::vector<float>& sigmas, int64_t num_timesteps) {
  std::vector<double> times;
  for (size_t i = 0; i + 1 < sigmas.size(); ++i) {
    times.push_back(static_cast<double>(sigmas[i] * static_cast<float>(num_timesteps)));
  }
  return times;
}

/// Euler's method along the velocity that the network predicts.
class FlowEuler : public Sampler {
 public:
  FlowEuler(std::vector<float> sigmas, int64_t num_timesteps) : Sampler(network_times(sigmas, num_timesteps)), sigmas_(std::move(sigmas)) {}

  Tensor step(const Tensor& latents_NCHW, const Tensor& prediction_NCHW, const Tensor&, int64_t step) override {
    const float sigma_step = sigmas_[static_cast<size_t>(step) + 1] - sigmas_[static_cast<size_t>(step)];
    return latents_NCHW + sigma_step * prediction_NCHW;
  }

 private:
  std::vector<float> sigmas_;
};

}  // namespace

std::unique_ptr<Sampler> make_flow_sampler(const JsonReader& config, const FlowSteps& steps) {
  const FlowConfig own = read_flow_config(config);
  if (steps.count < 1 || steps.count > own.num_timesteps) {
    config_error("steps", "found " + std::to_string(steps.count) + ", expected a number from 1 to " + std::to_string(own.num_timesteps) +
                              ", the timesteps of training");
  }
  return std::make_unique<FlowEuler>(flow_sigmas(own, steps), own.num_timesteps);
}

}  // namespace lora::diffusion
