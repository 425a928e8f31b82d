// The objective on images, with a network of one number. C 2 channels, H by W places; a: the schedule's cumulative product of alphas.
#include "lora/train/denoising.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "lora/data/batches.h"
#include "lora/io/tensors.h"
#include "lora/train/objectives.h"
#include "support/expect_error.h"
#include "support/fake_denoiser.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"

namespace lora::train {
namespace {

using at::Tensor;
using Tensors = std::map<std::string, Tensor>;

/// Images as rows of tensors, and the objective on them.
class Images {
 public:
  /// The same tensors for `count` images.
  Images(int64_t count, const Tensors& tensors) : Images(std::vector<Tensors>(static_cast<size_t>(count), tensors)) {}
  explicit Images(const std::vector<Tensors>& images) {
    for (size_t i = 0; i < images.size(); ++i) {
      std::vector<io::NamedTensor> named;
      for (const auto& [name, tensor] : images[i]) {
        named.push_back({name, tensor});
      }
      const std::string file = std::to_string(i) + ".safetensors";
      io::save_tensors(folder_ / file, named);
      rows_ += "{\"file_name\": \"" + file + "\", \"prior\": " + (i % 2 == 1 ? "true" : "false") + "}\n";
    }
    data::SourceOptions source;
    source.format = data::RowFormat::kDiffusionTensors;
    source.path = folder_.write("rows.jsonl", rows_);
    dataset = data::load_dataset("data.train", {source}, {}, {nullptr, 1});
    model.body = std::make_unique<test::FakeDenoiser>();
    schedule = {{"num_train_timesteps", 1000}, {"beta_start", 0.00085}, {"beta_end", 0.012}, {"beta_schedule", "scaled_linear"}};
  }

  test::FakeDenoiser& network() { return dynamic_cast<test::FakeDenoiser&>(*model.body); }
  std::unique_ptr<Objective> objective() {
    std::shared_ptr<const diffusion::TrainingSchedule> noise =
        diffusion::make_training_schedule(JsonReader(schedule, "scheduler_config.json", ErrorKind::kModel));
    data::BatchOptions batches;
    batches.shuffle = false;
    auto made = objective_entry(ObjectiveKind::kDenoising).make({model, dataset, &dataset, nullptr, batches, options, std::move(noise)});
    network().seen_latents.clear();  // a trial
    network().seen_timesteps.clear();
    return made;
  }
  Tensor loss_sum(const std::vector<int64_t>& images, int64_t step = 0) {
    return objective()->loss_sum(nn::training_pass(data::make_batch(dataset, images), options.seed, step), step);
  }
  /// What the network was given for these images: noisy latents and timesteps.
  std::pair<Tensor, Tensor> seen(const std::vector<int64_t>& images, int64_t step = 0) {
    loss_sum(images, step);
    return {network().seen_latents.back(), network().seen_timesteps.back()};
  }

  data::Dataset dataset;
  nn::Model model;
  Json schedule;
  TrainOptions options;

 private:
  test::TemporaryFolder folder_;
  std::string rows_;
};

Tensors image(const Tensor& latents_CHW) {
  return {{"latents", latents_CHW}, {"encoder_hidden_states", at::full({3, 4}, 0.25)}};
}

Tensors with_noise(Tensors tensors, const Tensor& noise_CHW, int64_t timestep) {
  tensors["noise"] = noise_CHW;
  tensors["timestep"] = at::tensor({timestep}, at::kLong);
  return tensors;
}

/// The cumulative product of alphas up to a timestep, in double.
double alpha_bar(int64_t timestep) {
  double product = 1;
  for (int64_t t = 0; t <= timestep; ++t) {
    const double root = std::sqrt(0.00085) + (std::sqrt(0.012) - std::sqrt(0.00085)) * static_cast<double>(t) / 999;
    product *= 1 - root * root;
  }
  return product;
}

/// What FakeDenoiser's error for an image is, by hand.
double expected_error(const Tensor& latents, const Tensor& noise, int64_t timestep, bool velocity) {
  const double a = alpha_bar(timestep);
  const Tensor x = latents.to(at::kDouble), e = noise.to(at::kDouble);
  const Tensor predicted = 0.5 * (std::sqrt(a) * x + std::sqrt(1 - a) * e) + 0.25 + static_cast<double>(timestep) / 1000;
  const Tensor target = velocity ? std::sqrt(a) * e - std::sqrt(1 - a) * x : e;
  return (predicted - target).square().mean().item<double>();
}

TEST(Denoising, LossIsTheMeanSquaredErrorOfEachImageTimesItsWeight) {
  at::manual_seed(1);
  const std::vector<Tensor> latents{at::randn({2, 4, 6}), at::randn({2, 4, 6})}, noise{at::randn({2, 4, 6}), at::randn({2, 4, 6})};
  Images images(std::vector{with_noise(image(latents[0]), noise[0], 100), with_noise(image(latents[1]), noise[1], 900)});
  for (const bool velocity : {false, true}) {
    images.schedule["prediction_type"] = velocity ? "v_prediction" : "epsilon";
    const double first = expected_error(latents[0], noise[0], 100, velocity), second = expected_error(latents[1], noise[1], 900, velocity);
    images.options.denoising = {};
    EXPECT_NEAR(images.loss_sum({0, 1}).item<double>(), first + second, 1e-5 * (first + second));
    images.options.denoising.prior_loss_weight = 0.25;  // the second is marked
    EXPECT_NEAR(images.loss_sum({1, 0}).item<double>(), first + second / 4, 1e-5 * first);
    images.options.denoising.snr_gamma = 5;
    const double early = alpha_bar(100) / (1 - alpha_bar(100)), late = alpha_bar(900) / (1 - alpha_bar(900));
    ASSERT_GT(early, 5);
    ASSERT_LT(late, 5);
    const double weighted = first * 5 / (velocity ? early + 1 : early) + second / 4 * (velocity ? late / (late + 1) : 1);
    EXPECT_NEAR(images.loss_sum({0, 1}).item<double>(), weighted, 1e-5 * weighted);
  }
}

TEST(Denoising, DrawsAreFunctionsOfSeedStepAndImage) {
  Images images(3, image(at::ones({2, 4, 6})));
  const double both = images.loss_sum({0, 2}).item<double>();
  EXPECT_NEAR(both, images.loss_sum({0}).item<double>() + images.loss_sum({2}).item<double>(), 1e-5 * both);
  EXPECT_EQ(both, images.loss_sum({0, 2}).item<double>());
  EXPECT_NE(images.loss_sum({0}).item<double>(), images.loss_sum({2}).item<double>());
  EXPECT_NE(images.loss_sum({0}).item<double>(), images.loss_sum({0}, 1).item<double>());
  images.options.seed = 43;
  EXPECT_NE(both, images.loss_sum({0, 2}).item<double>());
}

/// The noise in what the network was given for images of zeros.
Tensor seen_noise(Images& images, int64_t step) {
  const auto [latents_NCHW, timesteps_N] = images.seen({0, 1, 2, 3}, step);
  Tensor noise = latents_NCHW.clone();
  for (int64_t n = 0; n < noise.size(0); ++n) {
    noise[n] /= std::sqrt(1 - alpha_bar(timesteps_N[n].item<int64_t>()));
  }
  return noise;
}

TEST(Denoising, NoiseIsNormalAndTimestepsAreOfTheRange) {
  Images images(4, image(at::zeros({2, 16, 15})));
  images.options.denoising.min_timestep = 200;
  images.options.denoising.max_timestep = 203;
  std::map<int64_t, int64_t> counts;
  std::vector<Tensor> all;
  constexpr int64_t kSteps = 50;
  for (int64_t step = 0; step < kSteps; ++step) {
    all.push_back(seen_noise(images, step));
    for (int64_t n = 0; n < 4; ++n) {
      ++counts[images.network().seen_timesteps.back()[n].item<int64_t>()];
    }
  }
  EXPECT_EQ(counts.size(), 4U);
  for (const auto& [timestep, count] : counts) {
    EXPECT_TRUE(timestep >= 200 && timestep <= 203) << timestep;
    EXPECT_NEAR(static_cast<double>(count), kSteps, 4 * std::sqrt(kSteps * 0.75));
  }
  const Tensor noise = at::cat(all);  // 200 images of 480 numbers
  EXPECT_NEAR(noise.mean().item<double>(), 0, 0.015);
  EXPECT_NEAR(noise.square().mean().item<double>(), 1, 0.03);
  EXPECT_NEAR(noise.pow(4).mean().item<double>(), 3, 0.2);
  EXPECT_NEAR((noise[0] * noise[1]).mean().item<double>(), 0, 0.2) << "images have noise of their own";
}

TEST(Denoising, NoiseOffsetIsLearntAndInputPerturbationIsNot) {
  Images images(4, image(at::zeros({2, 32, 32})));
  images.options.denoising.noise_offset = 3;
  std::vector<Tensor> means;
  for (int64_t step = 0; step < 40; ++step) {
    means.push_back(seen_noise(images, step).mean(at::IntArrayRef{2, 3}));
  }
  EXPECT_NEAR(at::stack(means).square().mean().item<double>(), 9, 2.5) << "one number for each channel";
  // The error of a network that predicts what it was given, rescaled: only noise that is not to be predicted remains.
  const auto error = [&images] {
    images.network().w = at::full({1}, 1 / std::sqrt(1 - alpha_bar(500)));
    return images.loss_sum({0, 1, 2, 3}).item<double>() / 4 - std::pow(0.25 + 0.5, 2);
  };
  images.options.denoising.min_timestep = 500;
  images.options.denoising.max_timestep = 500;
  EXPECT_NEAR(error(), 0, 1e-4);
  images.options.denoising.input_perturbation = 0.5;
  EXPECT_NEAR(error(), 0.25, 0.05);
}

TEST(Denoising, FlowMatchingWeighsErrorsAndDrawsTimestepsByItsScheme) {
  at::manual_seed(3);
  const Json flow = {{"_class_name", "FlowMatchEulerDiscreteScheduler"}, {"shift", 3.0}};
  const Tensor latents = at::randn({2, 4, 6}), noise = at::randn({2, 4, 6});
  Images images(1, with_noise(image(latents), noise, 899));
  images.schedule = flow;
  DenoisingOptions& own = images.options.denoising;
  const double sigma = 3 * 0.9 / (1 + 2 * 0.9);
  const Tensor predicted = 0.5 * ((1 - sigma) * latents + sigma * noise) + 0.25 + sigma;  // the network gets 1000 sigma
  const double error = (predicted - (noise - latents)).square().mean().item<double>();
  const double cosmap = 2 / (3.14159265358979 * (1 - 2 * sigma + 2 * sigma * sigma));
  for (const auto& [scheme, weight] : {std::pair(WeightingScheme::kNone, 1.0), std::pair(WeightingScheme::kLogitNormal, 1.0),
                                       std::pair(WeightingScheme::kSigmaSqrt, 1 / (sigma * sigma)),
                                       std::pair(WeightingScheme::kCosmap, cosmap)}) {
    own.weighting_scheme = scheme;
    own.precondition_outputs = false;
    EXPECT_NEAR(images.loss_sum({0}).item<double>(), weight * error, 1e-5 * weight * error);
    own.precondition_outputs = true;
    EXPECT_NEAR(images.loss_sum({0}).item<double>(), sigma * sigma * weight * error, 1e-5 * error);
  }
  own.weighting_scheme = WeightingScheme::kMode;
  test::expect_error(ErrorKind::kConfig, {"[training.weighting_scheme]", "rows give the timesteps"}, [&] { images.objective(); });
  own = {};
  own.snr_gamma = 5;
  test::expect_error(ErrorKind::kConfig, {"[training.snr_gamma]", "flow matching"}, [&] { images.objective(); });
  own = {};
  images.schedule = {{"num_train_timesteps", 1000}};
  own.weighting_scheme = WeightingScheme::kCosmap;
  test::expect_error(ErrorKind::kConfig, {"[training.weighting_scheme]", "flow matching"}, [&] { images.objective(); });
  // The shares of noise that are drawn: their mean, and how many are in the middle half.
  Images drawn(20, image(at::zeros({2, 4, 6})));
  drawn.schedule = {{"_class_name", "FlowMatchEulerDiscreteScheduler"}};
  const auto expect_drawn = [&](WeightingScheme scheme, double logit_mean, double mean, double middle) {
    drawn.options.denoising.weighting_scheme = scheme;
    drawn.options.denoising.logit_mean = logit_mean;
    std::vector<int64_t> places;
    for (int64_t i = 0; i < 20; ++i) {
      places.push_back(i);
    }
    std::vector<Tensor> all;
    for (int64_t step = 0; step < 40; ++step) {
      all.push_back(drawn.seen(places, step).second / 1000);
    }
    const Tensor sigmas = at::cat(all);
    EXPECT_GE(sigmas.min().item<double>(), 0.001 - 1e-6);
    EXPECT_LE(sigmas.max().item<double>(), 1 + 1e-6);
    EXPECT_NEAR(sigmas.mean().item<double>(), mean, 0.04);
    EXPECT_NEAR(sigmas.gt(0.25).logical_and(sigmas.lt(0.75)).to(at::kFloat).mean().item<double>(), middle, 0.07);
  };
  expect_drawn(WeightingScheme::kNone, 0, 0.5, 0.5);
  expect_drawn(WeightingScheme::kLogitNormal, 0, 0.5, 0.728);  // P(|N(0, 1)| < ln 3)
  expect_drawn(WeightingScheme::kLogitNormal, 1, 0.303, 0.523);  // diffusers counts from the noisiest: a high draw has little noise
  drawn.options.denoising.mode_scale = 1.29;
  expect_drawn(WeightingScheme::kMode, 0, 0.5, 0.73);
}

TEST(Denoising, LatentsOfAPosteriorAreDrawn) {
  Tensors tensors{{"mean", at::full({2, 32, 32}, 3.0)}, {"log_variance", at::full({2, 32, 32}, std::log(4.0))}};
  tensors["encoder_hidden_states"] = at::zeros({3, 4});
  Images images(2, tensors);
  images.options.denoising.max_timestep = 0;  // nearly without noise
  const Tensor latents_NCHW = images.seen({0, 1}).first;
  EXPECT_NEAR(latents_NCHW.mean().item<double>(), 3, 0.15);
  EXPECT_NEAR((latents_NCHW - 3).square().mean().item<double>(), 4, 0.4);
  EXPECT_FALSE(at::allclose(latents_NCHW, images.seen({0, 1}, 1).first, 0.1, 0.1));
}

TEST(Denoising, EvaluatesAtAGridOfTimesteps) {
  Images images(3, image(at::ones({2, 4, 6})));
  DenoisingOptions& own = images.options.denoising;
  own.snr_gamma = 5;
  own.noise_offset = own.input_perturbation = 1;
  own.prior_loss_weight = 0;
  const EvalResult found = images.objective()->evaluate();
  EXPECT_EQ(found.num_supervised, 3);
  std::vector<int64_t> timesteps;
  for (const Tensor& seen_N : images.network().seen_timesteps) {
    timesteps.push_back(seen_N[0].item<int64_t>());
  }
  EXPECT_THAT(timesteps, testing::ElementsAre(62, 187, 312, 437, 562, 687, 812, 937));
  ASSERT_EQ(found.metrics.size(), 4U);
  double quarters = 0;
  for (const auto& [name, value] : found.metrics) {
    quarters += value / 4;
  }
  EXPECT_NEAR(quarters, found.loss, 1e-6);
  EXPECT_LT(found.metrics[0].second, found.metrics[3].second);  // the fake network's error grows with the timestep
  images.options.seed = 7;
  images.options.denoising = {};
  EXPECT_EQ(images.objective()->evaluate().loss, found.loss) << "neither weights nor the seed matter";
  EXPECT_THAT(images.objective()->metric_names(), testing::Contains("eval_loss_quarter_3"));
}

TEST(Denoising, EvaluatesRowsWithTheirOwnNoise) {
  at::manual_seed(2);
  const Tensor latents = at::randn({2, 4, 6}), noise = at::randn({2, 4, 6});
  Images images(2, with_noise(image(latents), noise, 300));
  const EvalResult found = images.objective()->evaluate();
  EXPECT_NEAR(found.loss, expected_error(latents, noise, 300, false), 1e-5);
  EXPECT_NEAR(found.metrics[1].second, found.loss, 1e-9);
  EXPECT_TRUE(std::isnan(found.metrics[0].second));
}

TEST(Denoising, RefusesWhatDoesNotFit) {
  const Tensor latents = at::zeros({2, 4, 6});
  Images other(1, image(at::zeros({3, 4, 6})));
  test::expect_error(ErrorKind::kData, {"rows.jsonl:1]", "found 3 channels, expected 2"}, [&] { other.objective(); });
  Images late(1, with_noise(image(latents), latents, 1000));
  test::expect_error(ErrorKind::kData, {"rows.jsonl:1]", "found 1000, expected at most 999"}, [&] { late.objective(); });
  Images given(1, with_noise(image(latents), latents, 10));
  given.options.denoising.noise_offset = 0.1;
  test::expect_error(ErrorKind::kConfig, {"[training.noise_offset]", "the rows give the noise"}, [&] { given.objective(); });
  given.options.denoising = {};
  given.options.denoising.max_timestep = 500;
  test::expect_error(ErrorKind::kConfig, {"[training.max_timestep]", "the rows give the timesteps"}, [&] { given.objective(); });
  Images images(1, image(latents));
  images.options.denoising.max_timestep = 1000;
  test::expect_error(ErrorKind::kConfig, {"[training.max_timestep]", "found 1000, expected at most 999"}, [&] { images.objective(); });
  images.options.denoising = {};
  images.options.denoising.min_timestep = 1000;
  test::expect_error(ErrorKind::kConfig, {"[training.min_timestep]", "found 1000, expected at most 999"}, [&] { images.objective(); });
  images.options.denoising = {};
  images.schedule["rescale_betas_zero_snr"] = true;
  test::expect_error(ErrorKind::kConfig, {"[training.rescale_betas_zero_snr]", "v_prediction"}, [&] { images.objective(); });
  images.schedule["prediction_type"] = "v_prediction";
  images.objective();
}

}  // namespace
}  // namespace lora::train
