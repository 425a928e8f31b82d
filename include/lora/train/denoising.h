#pragma once
#include <memory>
#include <vector>

#include "lora/diffusion/flow_schedule.h"
#include "lora/diffusion/noise_schedule.h"
#include "lora/nn/denoiser.h"
#include "lora/train/document_objective.h"

namespace lora::train {

/// Removes noise from the latents of images (Ho et al. 2020; Rombach et al. 2022; by flow matching Esser et al. 2024): the loss of a step
/// is the mean over its images of the mean squared error of what the network predicts, each image's weighted by min-SNR (Hang et al. 2023)
/// or weighting_scheme, and prior_loss_weight. Noise, timesteps and the samples of posteriors are functions of (seed, step, image), unless
/// a row gives them.
class Denoising : public DocumentObjective {
 public:
  /// The model must be a Denoiser, and `parts.schedule` given. Throws data Error for images that do not fit the network or the schedule,
  /// config Error for options that do not fit the schedule or have no effect on the rows.
  explicit Denoising(const ObjectiveParts& parts);

  /// What is supervised are images; their input is the places of their latents.
  at::Tensor loss_sum(const nn::Pass& pass, int64_t step) const override;
  LossMemory loss_memory(const BatchSize& size) const override;
  std::vector<std::string> metric_names() const override;
  /// The mean squared error without weights, on noise that depends only on the image's place in the set, at the middle of each of
  /// `eval_timesteps` equal ranges of timesteps; in addition by quarter of the timesteps. Rows that give noise and timestep are evaluated
  /// with these.
  EvalResult evaluate() const override;

 private:
  struct Noisy;

  int64_t last_timestep() const;
  Noisy noisy_images(const nn::Batch& batch, const std::vector<uint64_t>& keys, const at::Tensor& timesteps_N, bool is_training) const;
  at::Tensor drawn_timesteps(const std::vector<uint64_t>& keys) const;
  at::Tensor errors(const Noisy& noisy, const nn::Pass& pass) const;
  at::Tensor weights(const nn::BatchLayout& layout, const at::Tensor& timesteps_N) const;
  void require_fitting_options() const;
  void refuse_options_of_other_schedule() const;
  void require_fitting_condition(const data::Dataset& images) const;
  void require_fitting_images(const data::Dataset& images) const;

  const nn::Denoiser& network_;
  std::shared_ptr<const diffusion::TrainingSchedule> schedule_;
  const diffusion::NoiseSchedule* by_variance_;  ///< the schedule, if it is of this kind; otherwise null
  const diffusion::FlowSchedule* by_flow_;       ///< the same
};

}  // namespace lora::train
