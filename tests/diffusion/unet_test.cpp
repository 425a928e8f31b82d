// The UNet compared with diffusers, and LoRA on it with PEFT (tests/data/diffusion, scripts/golden/diffusion_expected.py).
#include "lora/diffusion/unet.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

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
#include "support/tensors.h"

namespace lora::diffusion {
namespace {

using at::Tensor;
using test::normal;

const std::vector<std::string> kFamilies{"sd1", "sd2", "sdxl"};

std::filesystem::path family_folder(const std::string& family) {
  return std::filesystem::path(test::data_folder()) / "diffusion" / family;
}

nn::Model load_unet(const std::string& family) {
  const Pipeline pipeline({.path = family_folder(family) / "model"});
  const ComponentConfig config = pipeline.config(kUnet);
  const std::unique_ptr<io::Checkpoint> weights = pipeline.weights(kUnet);
  nn::Model model = make_unet(config.json, config.where, *weights, at::kFloat);
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
  options.target_modules = {peft::ModuleChoice::Kind::kList, config["target_modules"].get<std::vector<std::string>>(), ""};
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

/// The gradients of the mean loss of the first four rows, two of each size in a batch.
void expect_golden_gradients(const std::string& family, const std::string& name, nn::Recompute recompute) {
  nn::Model model = load_unet(family);
  const std::unique_ptr<peft::Method> method = attach_golden(model, family, name);
  const io::SafetensorsFile file(family_folder(family) / "expected.safetensors");
  for (const int64_t first : {0, 2}) {
    const ImageRow row = both(read_row(family, first), read_row(family, first + 1));
    const Tensor prediction = predicted(model, row, trained_pass(first, 2, recompute));
    test::expect_close(prediction[0], file.tensor(name + ".prediction." + std::to_string(first)), 1e-5, family + " " + name);
    const Tensor losses = (prediction - row.target).square().mean({1, 2, 3});
    test::expect_close(losses.detach(), file.tensor(name + ".losses").slice(0, first, first + 2), 1e-5, family + " losses");
    (losses.sum() / 4).backward();
  }
  EXPECT_FALSE(method->parameters().empty());
  for (const nn::Parameter& parameter : method->parameters()) {
    test::expect_close(parameter.tensor.grad(), file.tensor(name + ".grad.base_model.model." + parameter.name), 1e-5,
                       family + " " + name + " " + parameter.name);
  }
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

TEST(UNet, RecomputationChangesNoGradient) {
  for (const nn::Recompute recompute : {nn::Recompute::kFeedForward, nn::Recompute::kLayers, nn::Recompute::kOffload}) {
    expect_golden_gradients("sd1", "conv", recompute);
    expect_golden_gradients("sdxl", "attention", recompute);
  }
}

}  // namespace
}  // namespace lora::diffusion
