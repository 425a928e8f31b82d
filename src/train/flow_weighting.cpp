#include "train/flow_weighting.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "lora/base/random.h"
#include "train/noise.h"

namespace lora::train {

namespace {

double drawn_normal(uint64_t key) {
  float number = 0;
  fill_normal({&number, 1}, key);
  return static_cast<double>(number);
}

}  // namespace

double drawn_flow_share(const DenoisingOptions& options, uint64_t key) {
  const uint64_t own = mix64(key, static_cast<uint64_t>(Draw::kTimestep));
  if (options.weighting_scheme == WeightingScheme::kLogitNormal) {
    return 1 / (1 + std::exp(-(options.logit_mean + options.logit_std * drawn_normal(own))));
  }
  const double u = CounterRandom(own).uniform();
  if (options.weighting_scheme == WeightingScheme::kMode) {
    const double cosine = std::cos(std::numbers::pi * u / 2);
    return std::clamp(1 - u - options.mode_scale * (cosine * cosine - 1 + u), 0.0, 1.0);
  }
  return u;
}

at::Tensor flow_loss_weights(const DenoisingOptions& options, const at::Tensor& sigmas_N) {
  at::Tensor weights_N = at::ones_like(sigmas_N);
  if (options.weighting_scheme == WeightingScheme::kSigmaSqrt) {
    weights_N = sigmas_N.pow(-2.0);
  } else if (options.weighting_scheme == WeightingScheme::kCosmap) {
    weights_N = 2 / (std::numbers::pi * (1 - 2 * sigmas_N + 2 * sigmas_N.square()));
  }
  return options.precondition_outputs ? weights_N * sigmas_N.square() : weights_N;
}

}  // namespace lora::train
