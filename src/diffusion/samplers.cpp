// N images, C channels, H and W sides.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "diffusion/sampler_times.h"
#include "lora/base/error.h"
#include "lora/diffusion/sampler.h"

namespace lora::diffusion {
namespace {

/// A key that would make diffusers' scheduler of some kinds do something which is not done here.
struct FixedKey {
  const char* key;
  Json value;  ///< the only one
  std::vector<SamplerKind> kinds;
};

const std::vector<FixedKey>& fixed_sampler_keys() {
  using enum SamplerKind;
  static const std::vector<SamplerKind> sigmas{kEuler, kDpmPlusPlus2m};
  static const std::vector<FixedKey> keys{
      {"thresholding", false, {kDdim, kDpmPlusPlus2m}},
      {"use_exponential_sigmas", false, sigmas},
      {"use_beta_sigmas", false, sigmas},
      {"final_sigmas_type", "zero", sigmas},
      {"interpolation_type", "linear", {kEuler}},
      {"timestep_type", "discrete", {kEuler}},
      {"use_lu_lambdas", false, {kDpmPlusPlus2m}},
      {"use_flow_sigmas", false, {kDpmPlusPlus2m}},
      {"algorithm_type", "dpmsolver++", {kDpmPlusPlus2m}},
      {"solver_order", 2, {kDpmPlusPlus2m}},
      {"solver_type", "midpoint", {kDpmPlusPlus2m}},
  };
  return keys;
}

void refuse_other_values(const JsonReader& config, SamplerKind kind) {
  for (const FixedKey& fixed : fixed_sampler_keys()) {
    const bool counts = std::find(fixed.kinds.begin(), fixed.kinds.end(), kind) != fixed.kinds.end();
    if (counts && config.has(fixed.key) && config.at(fixed.key) != fixed.value) {
      config.fail(fixed.key, fixed.value.dump() + " for the sampler " + std::string(kSamplerKinds.name(kind)) + ". Choose another sampler");
    }
  }
}

/// The image that a prediction for x = alpha · image + sigma · noise stands for.
Tensor image_of(const Tensor& x, const Tensor& prediction, double alpha, double sigma, PredictionType type) {
  return type == PredictionType::kEpsilon ? (x - sigma * prediction) / alpha : alpha * x - sigma * prediction;
}

class Ddim : public Sampler {
 public:
  Ddim(const JsonReader& config, const NoiseSchedule& schedule, int64_t count)
      : Sampler(spaced_timesteps(config, spacing_of(config, Spacing::kLeading), schedule.num_timesteps(), count, /*fractional=*/false)),
        shares_(schedule.alphas_cumprod_T()),
        stride_(schedule.num_timesteps() / count),
        last_share_(config.boolean("set_alpha_to_one", true) ? 1.0 : shares_[0].item<double>()),
        limit_(config.boolean("clip_sample", true) ? config.number("clip_sample_range", 1.0) : std::numeric_limits<double>::infinity()),
        type_(schedule.prediction_type()) {}

  Tensor step(const Tensor& latents_NCHW, const Tensor& prediction_NCHW, const Tensor&, int64_t step) override {
    const auto time = static_cast<int64_t>(timesteps()[static_cast<size_t>(step)]);
    const double share = shares_[time].item<double>(), next = time >= stride_ ? shares_[time - stride_].item<double>() : last_share_;
    const double alpha = std::sqrt(share), sigma = std::sqrt(1 - share);
    const Tensor image = image_of(latents_NCHW, prediction_NCHW, alpha, sigma, type_).clamp(-limit_, limit_);
    const Tensor noise = type_ == PredictionType::kEpsilon ? prediction_NCHW : alpha * prediction_NCHW + sigma * latents_NCHW;
    return std::sqrt(next) * image + std::sqrt(1 - next) * noise;
  }

 private:
  Tensor shares_;
  int64_t stride_;
  double last_share_, limit_;
  PredictionType type_;
};

/// Timesteps and their sigmas, the last of which is 0.
struct NoiseLevels {
  std::vector<double> timesteps;
  std::vector<float> sigmas;
};

NoiseLevels levels_of(const NoiseSchedule& schedule, const std::vector<double>& timesteps) {
  NoiseLevels levels{timesteps, {}};
  const std::vector<float> table = sigmas_of(schedule);
  for (const double time : timesteps) {
    levels.sigmas.push_back(static_cast<float>(interpolated(table, time)));
  }
  levels.sigmas.push_back(0);
  return levels;
}

/// @param rounded whether the timesteps are whole numbers.
NoiseLevels karras_levels(const NoiseSchedule& schedule, double largest, double smallest, int64_t count, bool rounded) {
  NoiseLevels levels;
  const std::vector<float> table = sigmas_of(schedule);
  for (const double sigma : karras_sigmas(largest, smallest, count)) {
    const double time = timestep_of_sigma(table, sigma);
    levels.timesteps.push_back(rounded ? std::nearbyint(time) : static_cast<double>(static_cast<float>(time)));
    levels.sigmas.push_back(static_cast<float>(sigma));
  }
  levels.sigmas.push_back(0);
  return levels;
}

NoiseLevels euler_levels(SamplerKind kind, const JsonReader& config, const NoiseSchedule& schedule, Spacing spacing, int64_t count) {
  const NoiseLevels levels = levels_of(schedule, spaced_timesteps(config, spacing, schedule.num_timesteps(), count, /*fractional=*/true));
  if (kind == SamplerKind::kEuler && config.boolean("use_karras_sigmas", false)) {
    return karras_levels(schedule, levels.sigmas.front(), levels.sigmas[static_cast<size_t>(count - 1)], count, /*rounded=*/false);
  }
  return levels;
}

/// Euler's method in x = image + sigma · noise, with new noise at each step or without.
class Euler : public Sampler {
 public:
  Euler(SamplerKind kind, const JsonReader& config, const NoiseSchedule& schedule, int64_t count)
      : Euler(kind, spacing_of(config, Spacing::kLinspace), config, schedule, count) {}

  Tensor start(const Tensor& noise_NCHW) const override { return noise_NCHW * start_; }
  Tensor network_input(const Tensor& latents_NCHW, int64_t step) const override {
    const double sigma = sigmas_[static_cast<size_t>(step)];
    return latents_NCHW / std::sqrt(sigma * sigma + 1);
  }
  bool draws_noise() const override { return ancestral_; }

  Tensor step(const Tensor& latents_NCHW, const Tensor& prediction_NCHW, const Tensor& noise_NCHW, int64_t step) override {
    const double sigma = sigmas_[static_cast<size_t>(step)], next = sigmas_[static_cast<size_t>(step) + 1];
    const double length = std::sqrt(sigma * sigma + 1);
    const Tensor image = type_ == PredictionType::kEpsilon ? latents_NCHW - sigma * prediction_NCHW
                                                           : latents_NCHW / (length * length) - prediction_NCHW * (sigma / length);
    const Tensor direction = (latents_NCHW - image) / sigma;
    const double added = ancestral_ ? std::sqrt(next * next * (sigma * sigma - next * next) / (sigma * sigma)) : 0.0;
    const Tensor moved = latents_NCHW + direction * (std::sqrt(next * next - added * added) - sigma);
    return ancestral_ ? moved + added * noise_NCHW : moved;
  }

 private:
  Euler(SamplerKind kind, Spacing spacing, const JsonReader& config, const NoiseSchedule& schedule, int64_t count)
      : Euler(kind, spacing, euler_levels(kind, config, schedule, spacing, count), schedule.prediction_type()) {}
  Euler(SamplerKind kind, Spacing spacing, const NoiseLevels& levels, PredictionType type)
      : Sampler(levels.timesteps), sigmas_(levels.sigmas), ancestral_(kind == SamplerKind::kEulerAncestral), type_(type) {
    const double largest = sigmas_.front();
    start_ = spacing == Spacing::kLeading ? std::sqrt(largest * largest + 1) : largest;
  }

  std::vector<float> sigmas_;
  bool ancestral_;
  PredictionType type_;
  double start_;
};

/// One more timestep is spaced than is used, but for kTrailing.
NoiseLevels dpm_levels(const JsonReader& config, const NoiseSchedule& schedule, int64_t count) {
  if (config.boolean("use_karras_sigmas", false)) {
    const std::vector<float> table = sigmas_of(schedule);
    const bool rounded = config.string("beta_schedule", "linear") != "squaredcos_cap_v2";
    return karras_levels(schedule, table.back(), table.front(), count, rounded);
  }
  const Spacing spacing = spacing_of(config, Spacing::kLinspace);
  const int64_t spaced = spacing == Spacing::kTrailing ? count : count + 1;
  std::vector<double> times = spaced_timesteps(config, spacing, schedule.num_timesteps(), spaced, /*fractional=*/false);
  times.resize(static_cast<size_t>(count));
  return levels_of(schedule, times);
}

/// The multistep solver of second order, in x = alpha · image + sigma · noise.
class DpmPlusPlus2m : public Sampler {
 public:
  DpmPlusPlus2m(const JsonReader& config, const NoiseSchedule& schedule, int64_t count)
      : DpmPlusPlus2m(dpm_levels(config, schedule, count), schedule.prediction_type()) {}

  Tensor step(const Tensor& latents_NCHW, const Tensor& prediction_NCHW, const Tensor&, int64_t step) override {
    const Level now = level(step), next = level(step + 1);
    const Tensor image = image_of(latents_NCHW, prediction_NCHW, now.alpha, now.sigma, type_);
    const bool is_last = step + 1 == num_steps();
    Tensor estimate = image;
    if (step > 0 && !is_last) {
      const double ratio = (now.log_snr - level(step - 1).log_snr) / (next.log_snr - now.log_snr);
      estimate = image + (image - previous_image_) / (2 * ratio);
    }
    previous_image_ = image;
    const double shrink = std::exp(now.log_snr - next.log_snr) - 1;
    return (next.sigma / now.sigma) * latents_NCHW - (next.alpha * shrink) * estimate;
  }

 private:
  struct Level {
    double alpha, sigma;
    double log_snr;  ///< half of the logarithm of the ratio, as in the paper
  };

  DpmPlusPlus2m(const NoiseLevels& levels, PredictionType type) : Sampler(levels.timesteps), sigmas_(levels.sigmas), type_(type) {}

  Level level(int64_t step) const {
    const double ratio = sigmas_[static_cast<size_t>(step)], alpha = 1 / std::sqrt(ratio * ratio + 1);
    return {alpha, ratio * alpha, -std::log(ratio)};
  }

  std::vector<float> sigmas_;
  PredictionType type_;
  Tensor previous_image_;
};

}  // namespace

std::unique_ptr<Sampler> make_sampler(SamplerKind kind, const JsonReader& config, const NoiseSchedule& schedule, int64_t num_steps) {
  if (kind == SamplerKind::kFlowEuler) {
    config_error("sampler", "found flow_euler, expected another sampler: this pipeline's network was not trained by flow matching");
  }
  // dpmpp_2m divides by the distance of its steps, and spaces one timestep more than it uses: with all of them some would be the same.
  const bool needs_one_more = kind == SamplerKind::kDpmPlusPlus2m;
  const int64_t most = schedule.num_timesteps() - (needs_one_more ? 1 : 0);
  if (num_steps < 1 || num_steps > most) {
    config_error("steps", "found " + std::to_string(num_steps) + ", expected a number from 1 to " + std::to_string(most) +
                              (needs_one_more ? ", one less than" : ",") + " the timesteps of training");
  }
  refuse_other_values(config, kind);
  switch (kind) {
    case SamplerKind::kDdim:
      return std::make_unique<Ddim>(config, schedule, num_steps);
    case SamplerKind::kEuler:
    case SamplerKind::kEulerAncestral:
      return std::make_unique<Euler>(kind, config, schedule, num_steps);
    case SamplerKind::kDpmPlusPlus2m:
    case SamplerKind::kFlowEuler:
      break;
  }
  return std::make_unique<DpmPlusPlus2m>(config, schedule, num_steps);
}

}  // namespace lora::diffusion
