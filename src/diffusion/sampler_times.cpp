#include "diffusion/sampler_times.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace lora::diffusion {
namespace {

constexpr double kNoiseShareAtZeroSnr = 0x1.0p-24;  // EulerDiscreteScheduler's alphas_cumprod of pure noise
constexpr double kKarrasRho = 7.0;
constexpr double kSmallestSigma = 1e-10;

}  // namespace

Spacing spacing_of(const JsonReader& config, Spacing fallback) {
  if (!config.has("timestep_spacing")) {
    return fallback;
  }
  const std::string name = config.string("timestep_spacing");
  if (name == "leading") {
    return Spacing::kLeading;
  }
  if (name == "linspace") {
    return Spacing::kLinspace;
  }
  if (name != "trailing") {
    config.fail("timestep_spacing", "\"leading\", \"linspace\" or \"trailing\"");
  }
  return Spacing::kTrailing;
}

std::vector<double> spaced_timesteps(const JsonReader& config, Spacing spacing, int64_t num_train, int64_t count, bool fractional) {
  const auto last = static_cast<double>(num_train - 1);
  const int64_t offset = spacing == Spacing::kLeading ? config.integer("steps_offset", 0) : 0;
  std::vector<double> times;
  for (int64_t i = count - 1; i >= 0; --i) {
    const auto place = static_cast<double>(i);
    double time = 0;
    if (spacing == Spacing::kLeading) {
      time = static_cast<double>(i * (num_train / count) + offset);
    } else if (spacing == Spacing::kLinspace) {
      time = count == 1 ? 0.0 : place * (last / static_cast<double>(count - 1));
      time = fractional ? static_cast<double>(static_cast<float>(time)) : std::nearbyint(time);
    } else {
      const double from_end = static_cast<double>(count - 1 - i) * (static_cast<double>(num_train) / static_cast<double>(count));
      time = std::nearbyint(static_cast<double>(num_train) - from_end) - 1;
    }
    times.push_back(time);
  }
  if (times.front() > last || times.back() < 0) {
    config.fail("steps_offset", "a number that keeps the timesteps of " + std::to_string(count) + " steps between 0 and " +
                                    std::to_string(num_train - 1));
  }
  return times;
}

std::vector<float> sigmas_of(const NoiseSchedule& schedule) {
  Tensor shares = schedule.alphas_cumprod_T().clone();
  if (schedule.has_zero_terminal_snr()) {
    shares[-1] = kNoiseShareAtZeroSnr;
  }
  const Tensor sigmas = ((1 - shares) / shares).sqrt().contiguous();
  return {sigmas.data_ptr<float>(), sigmas.data_ptr<float>() + sigmas.numel()};
}

double interpolated(const std::vector<float>& table, double place) {
  const auto low = std::min(static_cast<size_t>(place), table.size() - 2);
  const double share = place - static_cast<double>(low);
  return table[low] + share * (static_cast<double>(table[low + 1]) - table[low]);
}

std::vector<double> karras_sigmas(double largest, double smallest, int64_t count) {
  const double first = std::pow(largest, 1 / kKarrasRho), last = std::pow(smallest, 1 / kKarrasRho);
  std::vector<double> sigmas;
  for (int64_t i = 0; i < count; ++i) {
    const double ramp = count == 1 ? 0.0 : static_cast<double>(i) / static_cast<double>(count - 1);
    sigmas.push_back(std::pow(first + ramp * (last - first), kKarrasRho));
  }
  return sigmas;
}

double timestep_of_sigma(const std::vector<float>& sigmas, double sigma) {
  const double sought = std::log(std::max(sigma, kSmallestSigma));
  const auto above = std::upper_bound(sigmas.begin(), sigmas.end(), sigma, [](double value, float entry) { return value < entry; });
  const auto low = static_cast<size_t>(std::clamp<std::ptrdiff_t>(above - sigmas.begin() - 1, 0, std::ssize(sigmas) - 2));
  const double low_log = std::log(sigmas[low]), high_log = std::log(sigmas[low + 1]);
  const double share = std::clamp((low_log - sought) / (low_log - high_log), 0.0, 1.0);
  return static_cast<double>(low) + share;
}

}  // namespace lora::diffusion
