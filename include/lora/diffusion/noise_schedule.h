#pragma once
#include "lora/base/json.h"
#include "lora/diffusion/training_schedule.h"

namespace lora::diffusion {

/// What the network predicts, by the scheduler's `prediction_type`.
enum class PredictionType {
  kEpsilon,   ///< "epsilon": the noise
  kVelocity,  ///< "v_prediction" (Salimans, Ho: Progressive Distillation, 2022, appendix D)
};

/// How much noise a noisy latent has at each of the T timesteps of training (Ho, Jain, Abbeel: Denoising Diffusion Probabilistic Models,
/// 2020). `alphas_cumprod` is the share of the image in the variance. Tables are computed in float32 as diffusers' DDPMScheduler does, and
/// lie on the CPU; the functions follow the device of their arguments and compute in float32.
class NoiseSchedule : public TrainingSchedule {
 public:
  /// Reads a scheduler_config.json of any class, as diffusers' training scripts do: the keys of DDPMScheduler count, absent ones have its
  /// defaults. Throws model Error naming the key for a beta_schedule or prediction_type that is not known and for betas outside (0, 1),
  /// and for classes whose models are trained in another way (flow matching, EDM).
  explicit NoiseSchedule(const JsonReader& config);

  int64_t num_timesteps() const override { return alphas_cumprod_.numel(); }
  PredictionType prediction_type() const { return prediction_type_; }
  /// Whether `rescale_betas_zero_snr` made the last timestep pure noise (Lin et al.: Common Diffusion Noise Schedules and Sample Steps are
  /// Flawed, 2023, algorithm 1).
  bool has_zero_terminal_snr() const { return has_zero_terminal_snr_; }
  Tensor network_times(const Tensor& timesteps_N) const override { return timesteps_N; }
  const Tensor& betas_T() const { return betas_; }
  const Tensor& alphas_cumprod_T() const { return alphas_cumprod_; }

  /// sqrt(a) latents + sqrt(1 - a) noise, with a = alphas_cumprod at int64 timesteps [N].
  Tensor add_noise(const Tensor& latents_NCHW, const Tensor& noise_NCHW, const Tensor& timesteps_N) const override;
  /// sqrt(a) noise - sqrt(1 - a) latents.
  Tensor velocity(const Tensor& latents_NCHW, const Tensor& noise_NCHW, const Tensor& timesteps_N) const;
  /// What the network is to predict: the noise or the velocity.
  Tensor target(const Tensor& latents_NCHW, const Tensor& noise_NCHW, const Tensor& timesteps_N) const override;
  /// Signal to noise: a / (1 - a).
  Tensor snr(const Tensor& timesteps_N) const;

 private:
  PredictionType prediction_type_;
  bool has_zero_terminal_snr_;
  Tensor betas_;
  Tensor alphas_cumprod_;
};

}  // namespace lora::diffusion
