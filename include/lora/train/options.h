#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/enum_table.h"
#include "lora/optim/options.h"

namespace lora::train {

/// training.objective: what is trained. Each entry has a line in the table of objectives.cpp.
enum class ObjectiveKind { kCausalLm, kSequenceClassification, kRegression, kModuleLoss, kDenoising };
inline constexpr EnumTable<ObjectiveKind, 5> kObjectiveKinds{{{{ObjectiveKind::kCausalLm, "causal_lm"},
                                                               {ObjectiveKind::kSequenceClassification, "sequence_classification"},
                                                               {ObjectiveKind::kRegression, "regression"},
                                                               {ObjectiveKind::kModuleLoss, "module_loss"},
                                                               {ObjectiveKind::kDenoising, "denoising"}}}};

/// training.gradient_checkpointing.
enum class GradientCheckpointing {
  kOff,
  kSelective,  ///< feed-forward blocks
  kFull,       ///< whole layers
  kOffload,    ///< whole layers, whose inputs are offloaded to the host's memory; on CUDA
  kAuto,       ///< the first of these that fits into memory according to the estimate
};
inline constexpr EnumTable<GradientCheckpointing, 5> kGradientCheckpointing{{{{GradientCheckpointing::kOff, "off"},
                                                                              {GradientCheckpointing::kSelective, "selective"},
                                                                              {GradientCheckpointing::kFull, "full"},
                                                                              {GradientCheckpointing::kOffload, "offload"},
                                                                              {GradientCheckpointing::kAuto, "auto"}}}};

/// training.eval_strategy and training.save_strategy, as transformers' IntervalStrategy and SaveStrategy.
enum class Strategy {
  kNo,
  kSteps,
  kEpoch,
  kBest,  ///< for saving: at each new best
};
inline constexpr EnumTable<Strategy, 3> kEvalStrategies{
    {{{Strategy::kNo, "no"}, {Strategy::kSteps, "steps"}, {Strategy::kEpoch, "epoch"}}}};
inline constexpr EnumTable<Strategy, 4> kSaveStrategies{
    {{{Strategy::kNo, "no"}, {Strategy::kSteps, "steps"}, {Strategy::kEpoch, "epoch"}, {Strategy::kBest, "best"}}}};

/// Steps to profile, from 1.
struct ProfileOptions {
  int64_t first = 1;
  int64_t last = 1;
};

/// Images that a run computes meanwhile.
struct SampleOptions {
  std::vector<std::string> prompts;            ///< one image for each
  std::optional<std::string> negative_prompt;  ///< none: as the pipeline does without one
  int64_t steps = 30;                          ///< from noise to an image
  std::optional<double> guidance_scale;        ///< none: the family's
  int64_t every = 500;                         ///< optimiser steps
};

/// How timesteps of flow matching are drawn, and what their errors count (Esser et al. 2024, section 3.1), as in diffusers.
enum class WeightingScheme {
  kLogitNormal,  ///< most in the middle
  kMode,         ///< more at the ends or in the middle, by mode_scale
  kSigmaSqrt,    ///< all the same, weighted by 1 / sigma^2
  kCosmap,       ///< all the same, weighted as a cosine schedule would
  kNone,         ///< all the same
};
inline constexpr EnumTable<WeightingScheme, 5> kWeightingSchemes{{{{WeightingScheme::kLogitNormal, "logit_normal"},
                                                                   {WeightingScheme::kMode, "mode"},
                                                                   {WeightingScheme::kSigmaSqrt, "sigma_sqrt"},
                                                                   {WeightingScheme::kCosmap, "cosmap"},
                                                                   {WeightingScheme::kNone, "none"}}}};

/// The keys of training for the objective denoising. Names as in diffusers' training scripts.
struct DenoisingOptions {
  std::optional<double> snr_gamma;              ///< min-SNR (Hang et al. 2023); none: every image counts 1
  double noise_offset = 0;                      ///< share of noise that is the same at all places of a channel
  double input_perturbation = 0;                ///< further noise on the network's input alone (Ning et al. 2023)
  double prior_loss_weight = 1.0;               ///< of images that are marked as prior
  int64_t min_timestep = 0;                     ///< the smallest timestep that is drawn
  std::optional<int64_t> max_timestep;          ///< the largest; none: the schedule's last
  std::optional<bool> rescale_betas_zero_snr;   ///< of the schedule (Lin et al. 2024); none: as its config says
  WeightingScheme weighting_scheme = WeightingScheme::kLogitNormal;  ///< of flow matching, as the four below
  double logit_mean = 0, logit_std = 1;  ///< of kLogitNormal
  double mode_scale = 1.29;              ///< of kMode
  bool precondition_outputs = false;     ///< the error is that of the image which the prediction stands for
  std::optional<double> guidance_scale;         ///< an input of networks that take guidance (FLUX.1-dev); none: 3.5
  int64_t eval_timesteps = 8;                   ///< at which each image is evaluated
  std::optional<SampleOptions> sample;
};

/// The run's `training` section; names and defaults as in transformers' TrainingArguments, except logging_steps 10.
struct TrainOptions {
  ObjectiveKind objective = ObjectiveKind::kCausalLm;
  double num_train_epochs = 3.0;
  int64_t max_steps = -1;  ///< overrides num_train_epochs if positive
  int64_t per_device_train_batch_size = 8;
  bool finds_batch_size = false;  ///< "auto": app/ sets the batch size to what fits into memory
  int64_t per_device_eval_batch_size = 8;
  int64_t gradient_accumulation_steps = 1;
  double learning_rate = 5e-5;
  double warmup_steps = 0;  ///< below 1: a share of all steps
  double warmup_ratio = 0;
  optim::ScheduleOptions schedule;  ///< kind and lr_scheduler_kwargs; its steps are filled by app/
  optim::OptimizerOptions optimizer;
  double max_grad_norm = 1.0;  ///< 0: no clipping
  /// Without an adapter: regular expressions of the names of the base's tensors that are trained; none: all of them.
  std::optional<std::vector<std::string>> train_parameters;
  uint64_t seed = 42;
  double logging_steps = 10;              ///< logging_steps, eval_steps and save_steps: below 1, a share of all steps
  std::optional<Strategy> eval_strategy;  ///< null: by eval_steps and at the end
  std::optional<double> eval_steps;
  Strategy save_strategy = Strategy::kSteps;
  double save_steps = 500;  ///< 0, with kNo: no checkpoints but the last of an interrupted run
  std::optional<int64_t> save_total_limit;
  bool load_best_model_at_end = false;
  std::string metric_for_best_model = "eval_loss";  ///< one of eval_metrics()
  std::optional<int64_t> early_stopping_patience;   ///< evaluations without improvement
  bool eval_on_start = false;                       ///< evaluate before the first step
  bool deterministic = false;
  GradientCheckpointing gradient_checkpointing = GradientCheckpointing::kOff;
  bool cuda_graphs = false;  ///< micro-batches padded to one shape, recorded once and replayed
  DenoisingOptions denoising;
  std::vector<std::string> report_to;  ///< the run's sinks in addition to those that every run has (metrics::make_sinks)
  std::optional<ProfileOptions> profile;
};

}  // namespace lora::train
