// N images of C channels and H by W places.
#include "lora/train/denoising.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "train/flow_weighting.h"
#include "train/noise.h"
#include "train/profile_scope.h"

namespace lora::train {

/// What the network gets of a batch, and what it is to predict.
struct Denoising::Noisy {
  at::Tensor latents_NCHW;
  at::Tensor timesteps_N;
  at::Tensor target_NCHW;
};

namespace {

using at::Tensor;
using diffusion::PredictionType;

constexpr int64_t kQuarters = 4;
constexpr double kTrainingGuidance = 3.5;  // of diffusers' script for FLUX.1-dev

std::string quarter_name(int64_t quarter) {
  return "eval_loss_quarter_" + std::to_string(quarter + 1);
}

/// Noise of such a shape for each image, [N, ...].
Tensor noise_of(const std::vector<uint64_t>& keys, at::IntArrayRef shape, Draw what, at::Device device) {
  std::vector<int64_t> sizes{static_cast<int64_t>(keys.size())};
  sizes.insert(sizes.end(), shape.begin(), shape.end());
  const Tensor noise = at::empty(sizes, at::kFloat);
  for (size_t n = 0; n < keys.size(); ++n) {
    fill_with_noise(noise[static_cast<int64_t>(n)], keys[n], what);
  }
  return noise.to(device);
}

std::vector<uint64_t> training_keys(const nn::BatchLayout& layout, uint64_t seed, int64_t step) {
  std::vector<uint64_t> keys;
  for (const int64_t sample : layout.sample_ids) {
    keys.push_back(training_key(seed, step, sample));
  }
  return keys;
}

std::vector<uint64_t> evaluation_keys(const nn::BatchLayout& layout, int64_t number) {
  std::vector<uint64_t> keys;
  for (const int64_t sample : layout.sample_ids) {
    keys.push_back(evaluation_key(sample, number));
  }
  return keys;
}

nn::ImageCondition condition_of(const nn::LatentImages& images, at::ScalarType dtype) {
  nn::ImageCondition condition = images.condition;
  condition.states_NSD = condition.states_NSD.to(dtype);
  condition.pooled_NP = condition.pooled_NP.defined() ? condition.pooled_NP.to(dtype) : Tensor();
  return condition;
}

/// The latents themselves, or samples of their distributions.
Tensor latents_of(const nn::LatentImages& images, const std::vector<uint64_t>& keys) {
  const Tensor& mean_NCHW = images.latents_NCHW;
  if (!images.log_variance_NCHW.defined()) {
    return mean_NCHW;
  }
  const Tensor noise_NCHW = noise_of(keys, mean_NCHW.sizes().slice(1), Draw::kLatents, mean_NCHW.device());
  return mean_NCHW + (images.log_variance_NCHW / 2).exp() * noise_NCHW;
}

/// The mean squared errors of an evaluation, over all timesteps and in each quarter of them.
class ErrorTally {
 public:
  ErrorTally(int64_t first, int64_t last) : first_(first), count_of_timesteps_(last - first + 1) {}

  void add(const Tensor& errors_N, const Tensor& timesteps_N) {
    const Tensor errors = errors_N.to(at::kCPU, at::kDouble), timesteps = timesteps_N.to(at::kCPU);
    for (int64_t n = 0; n < errors.size(0); ++n) {
      const int64_t place = (timesteps[n].item<int64_t>() - first_) * kQuarters / count_of_timesteps_;
      Sum& quarter = quarters_[static_cast<size_t>(std::clamp<int64_t>(place, 0, kQuarters - 1))];
      for (Sum* sum : {&all_, &quarter}) {
        sum->error += errors[n].item<double>();
        ++sum->count;
      }
    }
  }

  EvalResult result(int64_t num_images) const {
    EvalResult result;
    result.loss = all_.mean();
    result.num_supervised = num_images;
    result.supervised_name = "eval_num_examples";
    for (int64_t quarter = 0; quarter < kQuarters; ++quarter) {
      result.metrics.emplace_back(quarter_name(quarter), quarters_[static_cast<size_t>(quarter)].mean());
    }
    return result;
  }

 private:
  struct Sum {
    double error = 0;
    int64_t count = 0;
    double mean() const { return count > 0 ? error / static_cast<double>(count) : std::nan(""); }
  };

  int64_t first_, count_of_timesteps_;
  Sum all_;
  std::array<Sum, kQuarters> quarters_;
};

}  // namespace

Denoising::Denoising(const ObjectiveParts& parts)
    : DocumentObjective(parts),
      network_(*parts.model.denoiser()),
      schedule_(parts.schedule),
      by_variance_(dynamic_cast<const diffusion::NoiseSchedule*>(parts.schedule.get())),
      by_flow_(dynamic_cast<const diffusion::FlowSchedule*>(parts.schedule.get())) {
  require_fitting_options();
  require_fitting_images(parts.train);
  if (parts.eval != nullptr) {
    require_fitting_images(*parts.eval);
  }
  require_fitting_condition(parts.train);
  const data::ImageRow& first = *parts.train.examples.front().image();
  const DenoisingOptions& own = options().denoising;
  if (first.has_noise && own.noise_offset > 0) {
    config_error("training.noise_offset", "has no effect: the rows give the noise, expected 0");
  }
  if (first.timestep && (own.min_timestep > 0 || own.max_timestep)) {
    config_error(own.max_timestep ? "training.max_timestep" : "training.min_timestep", "has no effect: the rows give the timesteps");
  }
  if (first.timestep && own.weighting_scheme == WeightingScheme::kMode) {
    config_error("training.weighting_scheme", "has no effect: the rows give the timesteps, found mode, expected another");
  }
}

int64_t Denoising::last_timestep() const {
  return options().denoising.max_timestep.value_or(schedule_->num_timesteps() - 1);
}

void Denoising::require_fitting_options() const {
  const DenoisingOptions& own = options().denoising;
  const int64_t count = schedule_->num_timesteps();
  if (last_timestep() >= count) {
    config_error("training.max_timestep", "is no timestep of the schedule: found " + std::to_string(last_timestep()) +
                                              ", expected at most " + std::to_string(count - 1));
  }
  if (own.min_timestep > last_timestep()) {
    config_error("training.min_timestep", "leaves no timesteps: found " + std::to_string(own.min_timestep) + ", expected at most " +
                                              std::to_string(last_timestep()));
  }
  refuse_options_of_other_schedule();
  if (own.guidance_scale && !network_.takes_guidance()) {
    config_error("training.guidance_scale",
                 "found a value, expected no such key: the network does not take the guidance scale as an input, as FLUX.1-dev does");
  }
  // Lin et al. 2024, section 3.2: at the last timestep the input is the noise itself, and its signal-to-noise ratio is 0.
  if (by_variance_ != nullptr && by_variance_->has_zero_terminal_snr() && by_variance_->prediction_type() == PredictionType::kEpsilon) {
    config_error("training.rescale_betas_zero_snr",
                 "needs a network that predicts velocity: found the prediction type epsilon, expected v_prediction, as at the last "
                 "timestep there is nothing but noise. Set it to false, or give the network's model.prediction_type.");
  }
}

void Denoising::refuse_options_of_other_schedule() const {
  const DenoisingOptions &own = options().denoising, none;
  struct Given {
    const char* key;
    bool is_given;
    bool is_of_flow;  ///< otherwise of the others
  };
  const Given keys[] = {{"snr_gamma", own.snr_gamma.has_value(), false},
                        {"noise_offset", own.noise_offset != none.noise_offset, false},
                        {"input_perturbation", own.input_perturbation != none.input_perturbation, false},
                        {"weighting_scheme", own.weighting_scheme != none.weighting_scheme, true},
                        {"logit_mean", own.logit_mean != none.logit_mean, true},
                        {"logit_std", own.logit_std != none.logit_std, true},
                        {"mode_scale", own.mode_scale != none.mode_scale, true},
                        {"precondition_outputs", own.precondition_outputs, true}};
  for (const Given& given : keys) {
    if (given.is_given && given.is_of_flow != (by_flow_ != nullptr)) {
      config_error(std::string("training.") + given.key,
                   given.is_of_flow ? "found a value, expected no such key: it is for flow matching (Stable Diffusion 3, FLUX)"
                                    : "found a value, expected no such key: the pipeline is trained by flow matching");
    }
  }
}

/// Throws data Error for conditions of another shape than the network's. It runs on the smallest latents that a UNet of four levels halves
/// without remainder.
void Denoising::require_fitting_condition(const data::Dataset& images) const {
  const at::NoGradGuard no_grad;
  constexpr int64_t kSide = 8;
  const data::Example& first = images.examples.front();
  const data::ImageRow& row = *first.image();
  const at::TensorOptions floats = at::TensorOptions(at::kFloat).device(model().device());
  const auto zeros = [&floats](const std::vector<int64_t>& shape) { return at::zeros(shape, floats); };
  nn::LatentImages image{zeros({1, network_.latent_channels(), kSide, kSide}), {}, {}, {}, {}};
  image.condition.states_NSD = zeros({1, row.states[0], row.states[1]});
  image.condition.pooled_NP = row.pooled > 0 ? zeros({1, row.pooled}) : Tensor();
  image.condition.time_ids_N6 = row.time_ids ? zeros({1, 6}) : Tensor();
  const Noisy noisy{image.latents_NCHW, image.condition.states_NSD.new_zeros({1}, at::kLong), image.latents_NCHW};
  const nn::Batch batch{nn::make_layout({{/*length=*/1, /*sample_id=*/0}}), image, {}};
  try {
    errors(noisy, nn::evaluation_pass(batch.to(model().device())));
  } catch (const Error& error) {
    data_error(first.origin.text(), "the image's tensors do not fit the network: " + std::string(error.what()));
  }
}

void Denoising::require_fitting_images(const data::Dataset& images) const {
  for (const data::Example& example : images.examples) {
    const data::ImageRow& image = *example.image();
    if (image.latents[0] != network_.latent_channels()) {
      data_error(example.origin.text(), "the latents do not fit the network: found " + std::to_string(image.latents[0]) +
                                            " channels, expected " + std::to_string(network_.latent_channels()) +
                                            ". Likely cause: latents of another family's VAE.");
    }
    const int64_t multiple = network_.side_multiple();
    if (image.latents[1] % multiple != 0 || image.latents[2] % multiple != 0) {
      data_error(example.origin.text(), "the latents do not fit the network: found sides of " + std::to_string(image.latents[1]) + " and " +
                                            std::to_string(image.latents[2]) + ", expected multiples of " + std::to_string(multiple) +
                                            ". Likely cause: data.resolution or buckets.step is not a multiple of 16.");
    }
    if (image.timestep && *image.timestep >= schedule_->num_timesteps()) {
      data_error(example.origin.text(), "the timestep is none of the schedule's: found " + std::to_string(*image.timestep) +
                                            ", expected at most " + std::to_string(schedule_->num_timesteps() - 1));
    }
  }
}

Tensor Denoising::drawn_timesteps(const std::vector<uint64_t>& keys) const {
  std::vector<int64_t> timesteps;
  for (const uint64_t key : keys) {
    const int64_t first = options().denoising.min_timestep, last = last_timestep();
    if (by_flow_ == nullptr) {
      timesteps.push_back(drawn_integer(first, last, key, Draw::kTimestep));
    } else {
      const auto passed = static_cast<int64_t>(drawn_flow_share(options().denoising, key) * static_cast<double>(last - first + 1));
      timesteps.push_back(std::max(first, last - passed));
    }
  }
  return at::tensor(timesteps, at::kLong).to(model().device());
}

/// @param timesteps_N of rows that do not give them.
Denoising::Noisy Denoising::noisy_images(const nn::Batch& batch, const std::vector<uint64_t>& keys, const Tensor& timesteps_N,
                                         bool is_training) const {
  const nn::LatentImages& images = batch.images();
  const Tensor latents_NCHW = latents_of(images, keys);
  const at::IntArrayRef shape = latents_NCHW.sizes().slice(1);
  const DenoisingOptions own = is_training ? options().denoising : DenoisingOptions();
  Tensor noise_NCHW = images.noise_NCHW.defined() ? images.noise_NCHW : noise_of(keys, shape, Draw::kNoise, latents_NCHW.device());
  if (own.noise_offset > 0) {
    noise_NCHW = noise_NCHW + own.noise_offset * noise_of(keys, {shape[0], 1, 1}, Draw::kOffset, latents_NCHW.device());
  }
  Tensor added_NCHW = noise_NCHW;
  if (own.input_perturbation > 0) {
    added_NCHW = added_NCHW + own.input_perturbation * noise_of(keys, shape, Draw::kPerturbation, latents_NCHW.device());
  }
  const Tensor at_N = images.timesteps_N.defined() ? images.timesteps_N : timesteps_N;
  return {schedule_->add_noise(latents_NCHW, added_NCHW, at_N), at_N, schedule_->target(latents_NCHW, noise_NCHW, at_N)};
}

/// The mean squared error of each image, [N], in float32 whatever the network computes in.
Tensor Denoising::errors(const Noisy& noisy, const nn::Pass& pass) const {
  const at::ScalarType dtype = model().dtype();
  nn::ImageCondition condition = condition_of(pass.batch().images(), dtype);
  if (network_.takes_guidance()) {
    const double guidance = options().denoising.guidance_scale.value_or(kTrainingGuidance);
    condition.guidance_N = at::full({noisy.latents_NCHW.size(0)}, guidance, noisy.latents_NCHW.options().dtype(at::kFloat));
  }
  const Tensor predicted_NCHW =
      network_.predict(noisy.latents_NCHW.to(dtype), schedule_->network_times(noisy.timesteps_N), condition, pass);
  const ProfileScope scope(kLossScope);
  return (predicted_NCHW.to(at::kFloat) - noisy.target_NCHW).square().mean(at::IntArrayRef{1, 2, 3});
}

/// What each image's error counts, [N]: min-SNR (Hang et al. 2023, section 3.4, with the velocity's as in its appendix), that of the
/// weighting scheme, and the weight of images of the class in general.
Tensor Denoising::weights(const nn::BatchLayout& layout, const Tensor& timesteps_N) const {
  const DenoisingOptions& own = options().denoising;
  const Tensor weights_N = at::ones({layout.num_documents()}, at::kFloat);
  for (int64_t n = 0; n < layout.num_documents(); ++n) {
    const data::ImageRow& image = *train_set().examples[static_cast<size_t>(layout.sample_ids[static_cast<size_t>(n)])].image();
    if (image.is_prior) {
      weights_N[n] = own.prior_loss_weight;
    }
  }
  const Tensor on_device_N = weights_N.to(timesteps_N.device());
  if (by_flow_ != nullptr) {
    return on_device_N * flow_loss_weights(own, by_flow_->sigmas(timesteps_N));
  }
  if (!own.snr_gamma) {
    return on_device_N;
  }
  const Tensor snr_N = by_variance_->snr(timesteps_N);
  const bool predicts_velocity = by_variance_->prediction_type() == PredictionType::kVelocity;
  return on_device_N * snr_N.clamp_max(*own.snr_gamma) / (predicts_velocity ? snr_N + 1 : snr_N);
}

Tensor Denoising::loss_sum(const nn::Pass& pass, int64_t step) const {
  const std::vector<uint64_t> keys = training_keys(pass.layout(), options().seed, step);
  const Noisy noisy = noisy_images(pass.batch(), keys, drawn_timesteps(keys), /*is_training=*/true);
  return (errors(noisy, pass) * weights(pass.layout(), noisy.timesteps_N)).sum();
}

/// Latents, noise, what the network gets, its prediction, the target and their difference.
LossMemory Denoising::loss_memory(const BatchSize& size) const {
  constexpr int64_t kKept = 6;
  const int64_t bytes = kKept * size.input * network_.latent_channels() * static_cast<int64_t>(sizeof(float));
  return {size.input, bytes, bytes};
}

std::vector<std::string> Denoising::metric_names() const {
  std::vector<std::string> names{"eval_loss"};
  for (int64_t quarter = 0; quarter < kQuarters; ++quarter) {
    names.push_back(quarter_name(quarter));
  }
  return names;
}

EvalResult Denoising::evaluate() const {
  const int64_t first = options().denoising.min_timestep, range = last_timestep() - first + 1;
  const int64_t count = eval_set().examples.front().image()->timestep ? 1 : std::min(options().denoising.eval_timesteps, range);
  ErrorTally tally(first, last_timestep());
  for_each_eval_batch([&](const nn::Batch& images) {
    const at::NoGradGuard no_grad;
    for (int64_t i = 0; i < count; ++i) {
      throw_if_interrupted();
      const Tensor middle_N = at::full({images.num_documents()}, first + (2 * i + 1) * range / (2 * count),
                                       at::TensorOptions(at::kLong).device(model().device()));
      const Noisy noisy = noisy_images(images, evaluation_keys(images.layout, i), middle_N, /*is_training=*/false);
      tally.add(errors(noisy, nn::evaluation_pass(images)), noisy.timesteps_N);
    }
  });
  return tally.result(static_cast<int64_t>(eval_set().examples.size()));
}

}  // namespace lora::train
