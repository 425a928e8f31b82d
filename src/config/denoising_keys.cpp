#include "config/denoising_keys.h"

#include "config/sample_field.h"

namespace lora::config {

namespace {

using train::TrainOptions;

constexpr int64_t kMostTimesteps = 1'000'000;

void add_noise_keys(Table<TrainOptions>& table) {
  table
      .value(
          "noise_offset", [](auto& o) -> auto& { return o.denoising.noise_offset; }, number({.from = 0}),
          "Images: share of noise that is equal at all places of a channel, which teaches the network light and dark images (default: 0).")
      .only_where_given()
      .example(0.05)
      .value(
          "input_perturbation", [](auto& o) -> auto& { return o.denoising.input_perturbation; }, number({.from = 0}),
          "Images: share of further noise on the network's input, which is not to be predicted (default: 0).")
      .only_where_given()
      .example(0.1)
      .value(
          "rescale_betas_zero_snr", [](auto& o) -> auto& { return o.denoising.rescale_betas_zero_snr; }, nullable(boolean()),
          "Images: rescale the noise schedule so that nothing of an image is left at its last timestep, for networks that predict "
          "velocity; null: as the scheduler's config says.")
      .only_where_given()
      .example(true);
}

void add_loss_keys(Table<TrainOptions>& table) {
  table
      .value(
          "snr_gamma", [](auto& o) -> auto& { return o.denoising.snr_gamma; }, nullable(number({.above = 0})),
          "Images: min-SNR weighting of the loss by timestep (5 in its paper); null: all timesteps count the same.")
      .only_where_given()
      .example(5)
      .value(
          "prior_loss_weight", [](auto& o) -> auto& { return o.denoising.prior_loss_weight; }, number({.from = 0}),
          "Images: weight of the loss of images marked as prior, which show the class of the subject in general (default: 1).")
      .only_where_given()
      .example(0.5);
}

void add_flow_keys(Table<TrainOptions>& table) {
  table
      .choice(
          "weighting_scheme", [](auto& o) -> auto& { return o.denoising.weighting_scheme; }, train::kWeightingSchemes,
          "Images, flow matching (Stable Diffusion 3, FLUX.1): how timesteps are drawn and their losses weighted, as in diffusers' "
          "scripts (default: logit_normal).")
      .only_where_given()
      .example("none")
      .value(
          "logit_mean", [](auto& o) -> auto& { return o.denoising.logit_mean; }, number({}),
          "Images, weighting_scheme logit_normal: mean; above 0 draws less noisy timesteps (default: 0).")
      .only_where_given()
      .example(0.5)
      .value(
          "logit_std", [](auto& o) -> auto& { return o.denoising.logit_std; }, number({.above = 0}),
          "Images, weighting_scheme logit_normal: standard deviation (default: 1).")
      .only_where_given()
      .example(0.8)
      .value(
          "mode_scale", [](auto& o) -> auto& { return o.denoising.mode_scale; }, number({}),
          "Images, weighting_scheme mode: how unevenly timesteps are drawn (default: 1.29).")
      .only_where_given()
      .example(0.81)
      .value(
          "precondition_outputs", [](auto& o) -> auto& { return o.denoising.precondition_outputs; }, boolean(),
          "Images, flow matching: compute the loss on the image that a prediction implies, which gives noisy timesteps more weight; "
          "on by default in diffusers' Stable Diffusion 3 script (default: false).")
      .only_where_given()
      .example(true)
      .value(
          "guidance_scale", [](auto& o) -> auto& { return o.denoising.guidance_scale; }, nullable(number({.from = 0})),
          "Images, FLUX.1-dev: guidance that the network is given during training; null: 3.5, as in diffusers' script.")
      .only_where_given()
      .example(1);
}

void add_timestep_keys(Table<TrainOptions>& table) {
  table
      .value(
          "min_timestep", [](auto& o) -> auto& { return o.denoising.min_timestep; }, integer(0, kMostTimesteps),
          "Images: smallest timestep that training draws (default: 0).")
      .only_where_given()
      .example(200)
      .value(
          "max_timestep", [](auto& o) -> auto& { return o.denoising.max_timestep; }, nullable(integer(0, kMostTimesteps)),
          "Images: largest timestep that training draws; null: the last of the noise schedule.")
      .only_where_given()
      .example(800)
      .value(
          "eval_timesteps", [](auto& o) -> auto& { return o.denoising.eval_timesteps; }, integer(1, kMostTimesteps),
          "Images: number of evenly spaced timesteps at which an evaluation computes the loss of each image (default: 8).")
      .only_where_given()
      .example(16);
}

}  // namespace

void add_denoising(Table<TrainOptions>& table) {
  add_loss_keys(table);
  add_noise_keys(table);
  add_flow_keys(table);
  add_timestep_keys(table);
  table.custom(sample_field()).only_where_given();
}

void check_denoising(const TrainOptions& options, const ConfigPlace& at) {
  const train::DenoisingOptions& own = options.denoising;
  if (own.max_timestep && own.min_timestep > *own.max_timestep && at.sound({"min_timestep", "max_timestep"})) {
    at.key("min_timestep")
        .add("found " + std::to_string(own.min_timestep) + " with max_timestep " + std::to_string(*own.max_timestep) +
             ", expected a number that is not larger");
  }
  const train::DenoisingOptions none;
  const auto belongs_to = [&](const char* key, bool is_given, train::WeightingScheme scheme) {
    if (is_given && own.weighting_scheme != scheme && at.sound({key, "weighting_scheme"})) {
      at.key(key).add("has no effect with weighting_scheme " + std::string(train::kWeightingSchemes.name(own.weighting_scheme)) +
                      ", expected no such key, or weighting_scheme " + std::string(train::kWeightingSchemes.name(scheme)));
    }
  };
  belongs_to("logit_mean", own.logit_mean != none.logit_mean, train::WeightingScheme::kLogitNormal);
  belongs_to("logit_std", own.logit_std != none.logit_std, train::WeightingScheme::kLogitNormal);
  belongs_to("mode_scale", own.mode_scale != none.mode_scale, train::WeightingScheme::kMode);
}

}  // namespace lora::config
