// The UNet compared with diffusers, and LoRA on it with PEFT (tests/data/diffusion, scripts/golden/diffusion_expected.py).
#include "lora/diffusion/unet.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "lora/diffusion/pipeline.h"
#include "lora/io/tensors.h"
#include "lora/nn/denoiser.h"
#include "lora/nn/pass.h"
#include "lora/peft/base_reference.h"
#include "lora/peft/method.h"
#include "support/expect_error.h"
#include "support/map_source.h"
#include "support/paths.h"
#include "support/tensor_memory.h"
#include "support/tensors.h"

namespace lora::diffusion {
namespace {

using at::Tensor;
using test::normal;

const std::vector<std::string> kFamilies{"sd1", "sd2", "sdxl"};

std::filesystem::path family_folder(const std::string& family) {
  return std::filesystem::path(test::data_folder()) / "diffusion" / family;
}

nn::Model load_unet(const std::string& family, at::ScalarType dtype = at::kFloat) {
  const Pipeline pipeline({.path = family_folder(family) / "model"});
  const ComponentConfig config = pipeline.config(kUnet);
  const std::unique_ptr<io::Checkpoint> weights = pipeline.weights(kUnet);
  nn::Model model = make_unet(config.json, config.where, *weights, dtype);
  EXPECT_TRUE(weights->unused().empty());
  return model;
}

/// A batch of images that stand for rows `first` and following of a data set.
nn::Batch images_from(int64_t first, int64_t count) {
  nn::Batch batch;
  std::vector<nn::DocumentPlace> places;
  for (int64_t i = 0; i < count; ++i) {
    places.push_back({.length = 1, .sample_id = first + i});
  }
  batch.layout = nn::make_layout(places);
  return batch;
}

nn::Pass trained_pass(int64_t first, int64_t count, nn::Recompute recompute = nn::Recompute::kNothing) {
  return nn::training_pass(images_from(first, count), /*seed=*/1, /*step=*/2, recompute);
}

struct ImageRow {
  Tensor noisy, target, timestep;
  nn::ImageCondition condition;
};

/// As diffusers' training scripts: abar of scaled_linear betas; the target is the noise, or the velocity for SD2.
ImageRow read_row(const std::string& family, int64_t number) {
  const io::SafetensorsFile file(family_folder(family) / "rows" / (std::to_string(number) + ".safetensors"));
  const auto tensor = [&file](const char* name) { return file.contains(name) ? file.tensor(name).to(at::kFloat).unsqueeze(0) : Tensor(); };
  const Tensor betas = at::linspace(std::sqrt(0.00085), std::sqrt(0.012), 1000, at::kFloat).square();
  const Tensor timestep = file.tensor("timestep").to(at::kLong).flatten();
  const Tensor kept = (1 - betas).cumprod(0).index_select(0, timestep);
  const Tensor latents = tensor("latents"), noise = tensor("noise");
  const Tensor of_latents = kept.sqrt(), of_noise = (1 - kept).sqrt();
  return {of_latents * latents + of_noise * noise, family == "sd2" ? of_latents * noise - of_noise * latents : noise, timestep,
          {tensor("encoder_hidden_states"), tensor("pooled"), tensor("time_ids")}};
}

/// Two rows of one size as one batch.
ImageRow both(const ImageRow& a, const ImageRow& b) {
  const auto cat = [](const Tensor& x, const Tensor& y) { return x.defined() ? at::cat({x, y}) : Tensor(); };
  return {cat(a.noisy, b.noisy), cat(a.target, b.target), cat(a.timestep, b.timestep),
          {cat(a.condition.states_NSD, b.condition.states_NSD), cat(a.condition.pooled_NP, b.condition.pooled_NP),
           cat(a.condition.time_ids_N6, b.condition.time_ids_N6)}};
}

Tensor predicted(const nn::Model& model, const ImageRow& row, const nn::Pass& pass) {
  return model.denoiser()->predict(row.noisy, row.timestep, row.condition, pass);
}

std::unique_ptr<peft::Method> attach_golden(nn::Model& model, const std::string& family, const std::string& name) {
  const std::filesystem::path folder = family_folder(family) / "adapters" / name;
  const Json config = read_json(folder / "adapter_config.json", ErrorKind::kModel);
  peft::LoraOptions options;
  options.init_from = folder;
  options.r = config["r"];
  options.lora_alpha = config["lora_alpha"];
  options.use_rslora = config["use_rslora"];
  options.use_dora = config["use_dora"];
  const Json& targets = config["target_modules"];
  options.target_modules = targets.is_string()
                               ? peft::ModuleChoice{peft::ModuleChoice::Kind::kRegex, {}, targets.get<std::string>()}
                               : peft::ModuleChoice{peft::ModuleChoice::Kind::kList, targets.get<std::vector<std::string>>(), ""};
  return peft::attach_adapter(options, model, peft::BaseReference("", ""), /*seed=*/1);
}

TEST(UNet, GivesTheOutputsOfDiffusers) {
  for (const std::string& family : kFamilies) {
    const nn::Model model = load_unet(family);
    const io::SafetensorsFile file(family_folder(family) / "expected.safetensors");
    EXPECT_EQ(model.denoiser()->latent_channels(), 4);
    for (const std::string name : {"unet.even", "unet.odd"}) {
      const Tensor sample = file.tensor(name + ".sample"), times = file.tensor(name + ".timesteps");
      const auto condition = [&](const char* part) {
        return file.contains(part) ? file.tensor(part).slice(0, 0, sample.size(0)) : Tensor();
      };
      const nn::ImageCondition given{condition("unet.states"), condition("unet.pooled"), condition("unet.time_ids")};
      const nn::Pass pass = nn::evaluation_pass(images_from(0, sample.size(0)));
      test::expect_close(model.denoiser()->predict(sample, times, given, pass), file.tensor(name + ".output"), 1e-5, family + " " + name);
    }
  }
}

/// Adds the gradients of the mean loss of the first four rows, two of each size in a batch. Returns the predictions of rows 0 and 2.
std::vector<Tensor> run_four_rows(const nn::Model& model, const std::string& family, nn::Recompute recompute) {
  std::vector<Tensor> predictions;
  for (const int64_t first : {0, 2}) {
    const ImageRow row = both(read_row(family, first), read_row(family, first + 1));
    const Tensor prediction = predicted(model, row, trained_pass(first, 2, recompute));
    ((prediction - row.target).square().mean({1, 2, 3}).sum() / 4).backward();
    predictions.push_back(prediction[0].detach());
  }
  return predictions;
}

/// In float32 the gradients of diffusers' own modules on every module differ from those in float64 by up to 2.5e-5 of a tensor's largest
/// value; those of the golden adapters by up to 1e-5 (ours: 1.2e-5).
constexpr double kFloatNoise = 5e-5;

/// Calls `use` with each trained parameter and its numbers: `flat` holds those of all of them, in the order of their names.
template <class Use>
void for_each_of_flat(const peft::Method& method, const Tensor& flat, const Use& use) {
  std::vector<nn::Parameter> parameters = method.parameters();
  std::ranges::sort(parameters, {}, &nn::Parameter::name);
  int64_t start = 0;
  for (const nn::Parameter& parameter : parameters) {
    const int64_t count = parameter.tensor.numel();
    ASSERT_LE(start + count, flat.numel()) << parameter.name;
    use(parameter, flat.slice(0, start, start + count).view(parameter.tensor.sizes()));
    start += count;
  }
  EXPECT_EQ(start, flat.numel());
}

void expect_flat_gradients(const peft::Method& method, const Tensor& flat, double tolerance, const std::string& what) {
  for_each_of_flat(method, flat, [&](const nn::Parameter& parameter, const Tensor& expected) {
    test::expect_close(parameter.tensor.grad(), expected, tolerance, what + " " + parameter.name);
  });
}

void expect_golden_gradients(const std::string& family, const std::string& name, nn::Recompute recompute) {
  nn::Model model = load_unet(family);
  const std::unique_ptr<peft::Method> method = attach_golden(model, family, name);
  const io::SafetensorsFile file(family_folder(family) / "expected.safetensors");
  const std::vector<Tensor> predictions = run_four_rows(model, family, recompute);
  test::expect_close(predictions[0], file.tensor(name + ".prediction.0"), 1e-5, family + " " + name);
  test::expect_close(predictions[1], file.tensor(name + ".prediction.2"), 1e-5, family + " " + name);
  expect_flat_gradients(*method, file.tensor(name + ".grad"), 2e-5, family + " " + name);
}

TEST(UNet, LoraOnAttentionHasTheGradientsOfPeft) {
  for (const std::string& family : kFamilies) {
    expect_golden_gradients(family, "attention", nn::Recompute::kNothing);
  }
}

TEST(UNet, DoraOnConvolutionsHasTheGradientsOfPeft) {
  for (const std::string& family : kFamilies) {
    expect_golden_gradients(family, "conv", nn::Recompute::kNothing);
  }
}

/// Compared in float64 too, in which only mistakes differ; the file's numbers are float32.
TEST(UNet, LoraOnEveryModuleHasTheGradientsOfPeft) {
  const std::vector<std::string> targets{"to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "net.0.proj", "net.2", "conv1", "conv2",
                                         "conv_shortcut", "time_emb_proj", "linear_1", "linear_2", "conv", "conv_in", "conv_out"};
  for (const std::string family : {"sd1", "sdxl"}) {  // SD2 has the modules of both
    for (const auto& [dtype, tolerance] : {std::pair(at::kFloat, kFloatNoise), std::pair(at::kDouble, 1e-6)}) {
      nn::Model model = load_unet(family, dtype);
      peft::LoraOptions options;
      options.r = 1;
      options.lora_alpha = 2;
      options.target_modules = {peft::ModuleChoice::Kind::kList, targets, ""};
      const std::unique_ptr<peft::Method> method = peft::attach_adapter(options, model, peft::BaseReference("", ""), /*seed=*/1);
      const io::SafetensorsFile file(family_folder(family) / "everywhere.safetensors");
      for_each_of_flat(*method, file.tensor("value"), [dtype](const nn::Parameter& parameter, const Tensor& value) {
        parameter.tensor.set_data(value.to(dtype, /*non_blocking=*/false, /*copy=*/true));
      });
      run_four_rows(model, family, dtype == at::kFloat ? nn::Recompute::kLayers : nn::Recompute::kNothing);
      expect_flat_gradients(*method, file.tensor("grad"), tolerance, family + " " + c10::toString(dtype));
    }
  }
}

TEST(UNet, RecomputationChangesNoGradient) {
  for (const nn::Recompute recompute : {nn::Recompute::kFeedForward, nn::Recompute::kLayers, nn::Recompute::kOffload}) {
    expect_golden_gradients("sd1", "conv", recompute);
    expect_golden_gradients("sdxl", "attention", recompute);
  }
}

/// A small UNet with random weights; the network that others are compared with is its float32 one.
nn::Model random_unet(at::ScalarType dtype = at::kFloat, double dropout = 0.0) {
  Json config = read_json(family_folder("sd1") / "model/unet/config.json", ErrorKind::kModel);
  config["dropout"] = dropout;
  io::RandomSource source(/*seed=*/5, /*initializer_range=*/0.1);
  return make_unet(config, "config.json", source, dtype);
}

ImageRow random_row(int64_t count, uint64_t seed) {
  return {normal({count, 4, 6, 10}, seed, at::kFloat), normal({count, 4, 6, 10}, seed + 1, at::kFloat),
          at::arange(count, at::kLong) * 100, {normal({count, 7, 16}, seed + 2, at::kFloat), {}, {}}};
}

ImageRow part(const ImageRow& row, int64_t i) {
  const auto slice = [i](const Tensor& x) { return x.slice(0, i, i + 1); };
  return {slice(row.noisy), slice(row.target), slice(row.timestep), {slice(row.condition.states_NSD), {}, {}}};
}

/// The peak of all tensors of forward and backward over an image of `height` rows of 16 places.
int64_t peak_of_tensors(const nn::Model& model, int64_t height, nn::Recompute recompute) {
  const nn::ImageCondition condition{normal({1, 7, 16}, 2, at::kFloat), {}, {}};
  const ImageRow row{normal({1, 4, height, 16}, 1, at::kFloat), {}, at::full({1}, 100, at::kLong), condition};
  const auto run = [&] { predicted(model, row, trained_pass(0, 1, recompute)).sum().backward(); };
  run();  // gradients, and whatever is created once
  test::TensorMemory memory;
  run();
  return memory.peak();
}

TEST(UNet, TheEstimateOfMemoryIsWhatTensorsTake) {
  Json config = read_json(family_folder("sd1") / "model/unet/config.json", ErrorKind::kModel);
  config["block_out_channels"] = {16, 32, 64, 64};  // the proportions of Stable Diffusion
  io::RandomSource source(/*seed=*/5, /*initializer_range=*/0.1);
  nn::Model model = make_unet(config, "config.json", source, at::kFloat);
  peft::LoraOptions options;
  options.r = 2;
  options.target_modules = {peft::ModuleChoice::Kind::kList, model.body->default_target_modules(), ""};
  const std::unique_ptr<peft::Method> method = peft::attach_adapter(options, model, peft::BaseReference("", ""), /*seed=*/1);
  for (const nn::Recompute recompute : {nn::Recompute::kNothing, nn::Recompute::kFeedForward, nn::Recompute::kLayers}) {
    // What twice as many places take in addition: the rest does not grow with them. Fewer would be convolved in another way.
    const int64_t found = (peak_of_tensors(model, 128, recompute) - peak_of_tensors(model, 64, recompute)) / (64 * 16);
    const nn::PassMemory estimate = model.body->pass_memory(recompute);
    const double ratio = static_cast<double>(estimate.kept + estimate.working) / static_cast<double>(found);
    const std::string where = "recompute " + std::to_string(static_cast<int>(recompute)) + ": kept " + std::to_string(estimate.kept) +
                              ", working " + std::to_string(estimate.working) + ", found " + std::to_string(found);
    EXPECT_GT(ratio, 0.9) << where;
    EXPECT_LT(ratio, 1.15) << where;
  }
}

TEST(UNet, DropoutDoesNotDependOnTheBatch) {
  nn::Model model = random_unet(at::kFloat, /*dropout=*/0.2);
  peft::LoraOptions options;
  options.lora_dropout = 0.3;
  options.init = peft::LoraInit::kRandom;
  options.target_modules = {peft::ModuleChoice::Kind::kList, {"to_q", "to_k", "conv1", "conv", "proj_in", "time_emb_proj"}, ""};
  const std::unique_ptr<peft::Method> method = peft::attach_adapter(options, model, peft::BaseReference("", ""), /*seed=*/1);
  const ImageRow row = random_row(3, 10);
  const Tensor together = predicted(model, row, trained_pass(4, 3)).detach();
  const Tensor without = predicted(model, row, nn::evaluation_pass(images_from(4, 3))).detach();
  EXPECT_GT((together - without).abs().max().item<double>(), 1e-2);
  for (int64_t i = 0; i < 3; ++i) {
    test::expect_close(predicted(model, part(row, i), trained_pass(4 + i, 1)).detach(), together.slice(0, i, i + 1), 1e-5);
  }
}

TEST(UNet, TrainedBaseWeightsAndLowerPrecision) {
  // All weights trained: every gradient is there and finite, and those of a smaller batch add up.
  nn::Model model = random_unet();
  const ImageRow row = random_row(2, 20);
  const std::vector<nn::Parameter> parameters = model.base_parameters();
  for (const nn::Parameter& parameter : parameters) {
    parameter.tensor.set_requires_grad(true);
  }
  predicted(model, row, trained_pass(0, 2)).square().sum().backward();
  std::vector<Tensor> together;
  for (const nn::Parameter& parameter : parameters) {
    ASSERT_TRUE(parameter.tensor.grad().defined()) << parameter.name;
    together.push_back(parameter.tensor.grad().clone());
    parameter.tensor.mutable_grad() = Tensor();
  }
  for (const int64_t i : {0, 1}) {
    predicted(model, part(row, i), trained_pass(i, 1)).square().sum().backward();
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    test::expect_close(parameters[i].tensor.grad(), together[i], 1e-4, parameters[i].name);
  }
  const at::NoGradGuard no_grad;
  const nn::Model half = random_unet(at::kBFloat16);
  const Tensor exact = predicted(model, row, nn::evaluation_pass(images_from(0, 2)));
  const Tensor rounded = predicted(half, row, nn::evaluation_pass(images_from(0, 2)));
  EXPECT_EQ(rounded.scalar_type(), at::kBFloat16);
  test::expect_close(rounded.to(at::kFloat), exact, 0.05);
}

TEST(UNet, RefusesInputsOfAnotherModel) {
  const nn::Model model = random_unet();
  const nn::Pass pass = nn::evaluation_pass(images_from(0, 1));
  const auto refuses = [&](const ImageRow& row, const std::vector<std::string>& parts) {
    test::expect_error(ErrorKind::kModel, parts, [&] { predicted(model, row, pass); });
  };
  ImageRow row = random_row(1, 30);
  row.condition.states_NSD = normal({1, 7, 32}, 1, at::kFloat);
  refuses(row, {"text states", "[1, 7, 32]", "[1, 7, 16]"});
  row.condition.states_NSD = Tensor();
  refuses(row, {"text states", "missing", "16]"});
  row = random_row(1, 30);
  row.noisy = normal({1, 9, 6, 10}, 1, at::kFloat);
  refuses(row, {"latents", "[1, 9, 6, 10]", "[1, 4, 6, 10]"});
  EXPECT_THROW(model.body->hidden(pass), std::logic_error);
}

TEST(UNet, TargetsAreThoseOfPeft) {
  nn::Model model = random_unet();
  const auto attach = [&](peft::ModuleChoice targets, peft::LoraInit init = peft::LoraInit::kDefault) {
    peft::LoraOptions options;
    options.target_modules = std::move(targets);
    options.init = init;
    return peft::attach_adapter(options, model, peft::BaseReference("", ""), /*seed=*/1);
  };
  using Kind = peft::ModuleChoice::Kind;
  // 6 attentions down, 9 up and 1 in the middle, each with two attentions of four projections.
  EXPECT_EQ(attach({})->parameters().size(), 2u * 4 * 2 * 16);
  // all-linear takes no convolution: the attentions' projections and two of each feed-forward block, 22 time_emb_proj, 2 of the timestep.
  EXPECT_EQ(attach({Kind::kAllLinear, {}, ""})->parameters().size(), 2u * (10 * 16 + 22 + 2));
  const auto of_convolution = attach({Kind::kList, {"conv_in"}, ""});
  ASSERT_EQ(of_convolution->parameters().size(), 2u);
  EXPECT_EQ(of_convolution->parameters()[0].name, "conv_in.lora_A.weight");
  EXPECT_EQ(of_convolution->parameters()[0].tensor.sizes(), (std::vector<int64_t>{8, 4, 3, 3}));
  EXPECT_EQ(of_convolution->parameters()[1].tensor.sizes(), (std::vector<int64_t>{8, 8, 1, 1}));
  EXPECT_EQ(of_convolution->parameters()[1].tensor.abs().max().item<double>(), 0);
  test::expect_error(ErrorKind::kConfig, {"init_lora_weights", "pissa", "conv_in", "gaussian"},
                     [&] { attach({Kind::kList, {"conv_in"}, ""}, peft::LoraInit::kPissa); });
  test::expect_error(ErrorKind::kConfig, {"target_modules", "norm1", "GroupNorm"}, [&] { attach({Kind::kList, {"resnets.0.norm1"}, ""}); });
}

}  // namespace
}  // namespace lora::diffusion
