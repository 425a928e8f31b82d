#pragma once
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/diffusion/noise_schedule.h"

namespace lora::diffusion {

/// How the timesteps of training are spread over the steps of sampling (Lin et al.: Common Diffusion Noise Schedules and Sample Steps are
/// Flawed, 2023, table 2).
enum class Spacing { kLeading, kLinspace, kTrailing };

/// The config's `timestep_spacing`. @param fallback of the sampler's class.
Spacing spacing_of(const JsonReader& config, Spacing fallback);

/// `count` timesteps from the noisiest. @param fractional whether those of kLinspace are not rounded.
/// Throws model Error if steps_offset leads beyond the last timestep of training.
std::vector<double> spaced_timesteps(const JsonReader& config, Spacing spacing, int64_t num_train, int64_t count, bool fractional);

/// The ratios of noise to image at all timesteps of training, sqrt((1 - a) / a) in float32. Where the last timestep is pure noise, its a is
/// 2^-24, so that it is finite.
std::vector<float> sigmas_of(const NoiseSchedule& schedule);

/// A table at a place between its entries.
double interpolated(const std::vector<float>& table, double place);

/// Karras et al., 2022, equation 5, with rho 7: from `largest` to `smallest`.
std::vector<double> karras_sigmas(double largest, double smallest, int64_t count);

/// The place in the table of a sigma, by its logarithm.
double timestep_of_sigma(const std::vector<float>& sigmas, double sigma);

}  // namespace lora::diffusion
