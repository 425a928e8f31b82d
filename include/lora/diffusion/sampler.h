#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

#include "lora/base/enum_table.h"
#include "lora/base/json.h"
#include "lora/diffusion/noise_schedule.h"
#include "lora/nn/denoiser.h"

namespace lora::diffusion {

/// How latents are computed from noise, step by step.
enum class SamplerKind {
  kDdim,            ///< Song, Meng, Ermon: Denoising Diffusion Implicit Models, 2021, with eta 0
  kEuler,           ///< Karras et al.: Elucidating the Design Space of Diffusion-Based Generative Models, 2022, algorithm 2 without churn
  kEulerAncestral,  ///< the same with new noise at each step
  kDpmPlusPlus2m,   ///< Lu et al.: DPM-Solver++, 2022, algorithm 2
  kFlowEuler,       ///< Euler's method for flow matching: the only one of such models, and of no others
};

inline constexpr EnumTable<SamplerKind, 5> kSamplerKinds{{{{SamplerKind::kDdim, "ddim"},
                                                           {SamplerKind::kEuler, "euler"},
                                                           {SamplerKind::kEulerAncestral, "euler_a"},
                                                           {SamplerKind::kDpmPlusPlus2m, "dpmpp_2m"},
                                                           {SamplerKind::kFlowEuler, "flow_euler"}}}};

/// One image's way from noise to latents, equal to diffusers' scheduler of that kind. Steps are numbered from 0 and taken in order; each
/// number is computed in float32 as diffusers does.
class Sampler {
 public:
  virtual ~Sampler() = default;

  /// The network's timestep input at each step, from the noisiest. Whole numbers for some kinds only.
  const std::vector<double>& timesteps() const { return timesteps_; }
  int64_t num_steps() const { return static_cast<int64_t>(timesteps_.size()); }

  /// The first latents, of standard normal noise.
  virtual Tensor start(const Tensor& noise_NCHW) const { return noise_NCHW; }
  /// What the network is given of the latents.
  virtual Tensor network_input(const Tensor& latents_NCHW, int64_t /*step*/) const { return latents_NCHW; }
  /// Whether step() needs noise.
  virtual bool draws_noise() const { return false; }
  /// The next latents. @param prediction_NCHW of the network. @param noise_NCHW standard normal; undefined if !draws_noise().
  virtual Tensor step(const Tensor& latents_NCHW, const Tensor& prediction_NCHW, const Tensor& noise_NCHW, int64_t step) = 0;

 protected:
  explicit Sampler(std::vector<double> timesteps) : timesteps_(std::move(timesteps)) {}

 private:
  std::vector<double> timesteps_;
};

/// Reads what a scheduler_config.json of any class says of sampling (timestep_spacing, steps_offset, use_karras_sigmas, …), as diffusers'
/// `from_config` of the kind's scheduler does: absent keys have that class's defaults.
/// Throws model Error naming a key that asks for something which the kind here does not do.
/// @param num_steps from 1 to the schedule's number of timesteps (one less for kDpmPlusPlus2m); otherwise throws config Error,
/// and for kFlowEuler.
std::unique_ptr<Sampler> make_sampler(SamplerKind kind, const JsonReader& config, const NoiseSchedule& schedule, int64_t num_steps);

/// The steps of flow matching.
struct FlowSteps {
  int64_t count;
  int64_t patches;  ///< of 2 by 2 latents in an image: what use_dynamic_shifting goes by
  /// Whether sigmas are evenly spaced from 1 to 1 / count before they are shifted (FLUX); otherwise to the smallest of training (SD3).
  bool ends_at_one_step = false;
};

/// kFlowEuler, equal to diffusers' FlowMatchEulerDiscreteScheduler. Throws model Error as FlowSchedule does, and config Error for a number
/// of steps below 1 or above the timesteps of training.
std::unique_ptr<Sampler> make_flow_sampler(const JsonReader& config, const FlowSteps& steps);

/// What the images are to show, and what not.
struct Guidance {
  nn::ImageCondition condition;
  nn::ImageCondition negative;  ///< of as many images; ignored if scale is at most 1
  double scale = 7.5;           ///< prediction = negative + scale · (condition - negative) (Ho, Salimans: Classifier-Free Guidance, 2022)
};

struct SamplingCalls {
  /// Standard normal noise [N, C, H, W] in float32, for a step of a sampler that draws noise.
  std::function<Tensor(int64_t step)> noise = nullptr;
  /// Called after each step with the latents. Null: none.
  std::function<void(int64_t step, const Tensor& latents_NCHW)> after_step = nullptr;
};

/// Latents of images, from standard normal noise [N, C, H, W] in float32 on the network's device. Nothing has a gradient.
Tensor sample_latents(const nn::Denoiser& network, Sampler& sampler, const Guidance& guidance, const Tensor& noise_NCHW,
                      const SamplingCalls& calls);

}  // namespace lora::diffusion
