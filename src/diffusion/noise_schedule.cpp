#include "lora/diffusion/noise_schedule.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

// Suffixes: N images, C channels, H and W their sides, T timesteps of training.

namespace lora::diffusion {
namespace {

/// More is a damaged file.
constexpr int64_t kMaxTimesteps = 1000000;

/// Classes of models that DDPM's noise does not fit.
void refuse_other_trainings(const JsonReader& config) {
  const std::string name = config.string("_class_name", "");
  for (const char* prefix : {"FlowMatch", "EDM"}) {
    if (name.starts_with(prefix)) {
      config.fail("_class_name", "the scheduler of a model that was trained as DDPM trains, such as DDIMScheduler");
    }
  }
}

PredictionType prediction_type_of(const JsonReader& config) {
  const std::string name = config.string("prediction_type", "epsilon");
  if (name != "epsilon" && name != "v_prediction") {
    config.fail("prediction_type", "\"epsilon\" or \"v_prediction\"");
  }
  return name == "epsilon" ? PredictionType::kEpsilon : PredictionType::kVelocity;
}

/// Nichol, Dhariwal: Improved Denoising Diffusion Probabilistic Models, 2021, equation 17; betas are at most 0.999.
Tensor cosine_betas(int64_t count) {
  const auto share = [](double time) { return std::pow(std::cos((time + 0.008) / 1.008 * std::numbers::pi / 2), 2); };
  Tensor betas = at::empty({count}, at::kFloat);
  for (int64_t t = 0; t < count; ++t) {
    const double length = static_cast<double>(count);
    const double beta = 1 - share(static_cast<double>(t + 1) / length) / share(static_cast<double>(t) / length);
    betas.data_ptr<float>()[t] = static_cast<float>(std::min(beta, 0.999));
  }
  return betas;
}

Tensor given_betas(const JsonReader& config, int64_t count) {
  const Json& values = config.at("trained_betas");
  const std::string expected = std::to_string(count) + " numbers (num_train_timesteps)";
  if (!values.is_array() || static_cast<int64_t>(values.size()) != count) {
    config.fail("trained_betas", expected);
  }
  Tensor betas = at::empty({count}, at::kFloat);
  for (int64_t t = 0; t < count; ++t) {
    const Json& value = values[static_cast<size_t>(t)];
    if (!value.is_number()) {
      config.fail("trained_betas", expected);
    }
    betas.data_ptr<float>()[t] = value.get<float>();
  }
  return betas;
}

Tensor betas_of(const JsonReader& config) {
  const int64_t count = config.integer("num_train_timesteps", 1000);
  if (count < 2 || count > kMaxTimesteps) {
    config.fail("num_train_timesteps", "a number from 2 to " + std::to_string(kMaxTimesteps));
  }
  if (config.has("trained_betas")) {
    return given_betas(config, count);
  }
  const double start = config.number("beta_start", 0.0001), end = config.number("beta_end", 0.02);
  const std::string name = config.string("beta_schedule", "linear");
  if (name == "linear") {
    return at::linspace(start, end, count, at::kFloat);
  }
  if (name == "scaled_linear") {
    return at::linspace(std::sqrt(start), std::sqrt(end), count, at::kFloat).square();
  }
  if (name == "squaredcos_cap_v2") {
    return cosine_betas(count);
  }
  if (name == "sigmoid") {
    return at::linspace(-6, 6, count, at::kFloat).sigmoid() * (end - start) + start;
  }
  config.fail("beta_schedule", "\"linear\", \"scaled_linear\", \"squaredcos_cap_v2\" or \"sigmoid\"");
}

void require_valid(const JsonReader& config, const Tensor& betas) {
  if (!betas.gt(0).logical_and(betas.lt(1)).all().item<bool>()) {
    throw Error(ErrorKind::kModel, config.where(),
                "some betas are not between 0 and 1: found " + std::to_string(betas.min().item<float>()) + " to " +
                    std::to_string(betas.max().item<float>()) + ", by beta_schedule, beta_start and beta_end, or trained_betas");
  }
}

/// Lin et al., 2023, algorithm 1: sqrt(a) is shifted so that its last value is 0, and scaled so that its first one stays.
Tensor with_zero_terminal_snr(const Tensor& betas) {
  Tensor roots = at::cumprod(1.0 - betas, 0).sqrt();
  const Tensor first = roots[0].clone(), last = roots[-1].clone();
  roots = (roots - last) * (first / (first - last));
  const Tensor shares = roots.square();
  return 1 - at::cat({shares.slice(0, 0, 1), shares.slice(0, 1) / shares.slice(0, 0, -1)});
}

/// The values of a table at the timesteps, to be multiplied with images.
Tensor for_images(const Tensor& table_T, const Tensor& timesteps_N) {
  return table_T.to(timesteps_N.device()).index_select(0, timesteps_N).view({-1, 1, 1, 1});
}

}  // namespace

NoiseSchedule::NoiseSchedule(const JsonReader& config)
    : prediction_type_(prediction_type_of(config)), has_zero_terminal_snr_(config.boolean("rescale_betas_zero_snr", false)) {
  refuse_other_trainings(config);
  betas_ = betas_of(config);
  require_valid(config, betas_);
  if (has_zero_terminal_snr_) {
    betas_ = with_zero_terminal_snr(betas_);
  }
  alphas_cumprod_ = at::cumprod(1.0 - betas_, 0);
}

Tensor NoiseSchedule::add_noise(const Tensor& latents_NCHW, const Tensor& noise_NCHW, const Tensor& timesteps_N) const {
  const Tensor share = for_images(alphas_cumprod_, timesteps_N);
  return share.sqrt() * latents_NCHW + (1 - share).sqrt() * noise_NCHW;
}

Tensor NoiseSchedule::velocity(const Tensor& latents_NCHW, const Tensor& noise_NCHW, const Tensor& timesteps_N) const {
  const Tensor share = for_images(alphas_cumprod_, timesteps_N);
  return share.sqrt() * noise_NCHW - (1 - share).sqrt() * latents_NCHW;
}

Tensor NoiseSchedule::target(const Tensor& latents_NCHW, const Tensor& noise_NCHW, const Tensor& timesteps_N) const {
  return prediction_type_ == PredictionType::kEpsilon ? noise_NCHW : velocity(latents_NCHW, noise_NCHW, timesteps_N);
}

Tensor NoiseSchedule::snr(const Tensor& timesteps_N) const {
  const Tensor share = alphas_cumprod_.to(timesteps_N.device()).index_select(0, timesteps_N);
  return (share.sqrt() / (1.0 - share).sqrt()).square();
}

}  // namespace lora::diffusion
