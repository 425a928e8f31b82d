// Stable Diffusion 3's transformer, flow matching's schedule and sampler compared with diffusers, and LoRA with PEFT
// (tests/data/diffusion/sd3, scripts/golden/diffusion_sd3.py).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/diffusion/flow_schedule.h"
#include "lora/diffusion/network.h"
#include "lora/diffusion/sampler.h"
#include "lora/io/tensors.h"
#include "lora/nn/denoiser.h"
#include "lora/nn/pass.h"
#include "lora/peft/base_reference.h"
#include "lora/peft/method.h"
#include "support/expect_error.h"
#include "support/pipeline_files.h"
#include "support/tensors.h"

namespace lora::diffusion {
namespace {

const std::filesystem::path kFolder = test::kData / "diffusion" / "sd3";

nn::Model load_transformer(const Json& changes = Json::object()) {
  const Pipeline pipeline({.path = kFolder / "model"});
  ComponentConfig config = pipeline.config(kTransformer);
  config.json.merge_patch(changes);
  const std::unique_ptr<io::Checkpoint> weights = pipeline.weights(kTransformer);
  return make_network(kTransformer, config, *weights, at::kFloat);
}

nn::Batch images_of(int64_t count) {
  nn::Batch batch;
  std::vector<nn::DocumentPlace> places;
  for (int64_t i = 0; i < count; ++i) {
    places.push_back({.length = 1, .sample_id = i});
  }
  batch.layout = nn::make_layout(places);
  return batch;
}

FlowSchedule flow_schedule(const Json& config) {
  Json named = config;
  named["_class_name"] = "FlowMatchEulerDiscreteScheduler";
  return FlowSchedule(JsonReader(named, "scheduler_config.json", ErrorKind::kModel));
}

TEST(Sd3, GivesTheOutputsOfDiffusers) {
  const nn::Model model = load_transformer();
  const io::SafetensorsFile file(kFolder / "expected.safetensors");
  EXPECT_EQ(model.denoiser()->latent_channels(), 16);
  for (const std::string name : {"square", "wide"}) {
    const nn::ImageCondition condition{file.tensor(name + ".states"), file.tensor(name + ".pooled"), {}};
    const Tensor output = model.denoiser()->predict(file.tensor(name + ".sample"), file.tensor(name + ".times"), condition,
                                                    nn::evaluation_pass(images_of(2)));
    test::expect_close(output, file.tensor(name + ".output"), 1e-5, name);
  }
}

/// The gradients of the mean loss of the first four rows, by hand from the rows' files.
void expect_gradients(nn::Recompute recompute) {
  nn::Model model = load_transformer();
  peft::LoraOptions options;
  options.init_from = kFolder / "adapter";
  options.r = 2;
  options.lora_alpha = 4;
  const std::unique_ptr<peft::Method> method = peft::attach_adapter(options, model, peft::BaseReference("", ""), /*seed=*/1);
  const FlowSchedule schedule = flow_schedule({{"shift", 3.0}});
  for (int64_t i = 0; i < 4; ++i) {
    const io::SafetensorsFile row(kFolder / "rows" / (std::to_string(i) + ".safetensors"));
    const auto tensor = [&row](const char* name) { return row.tensor(name).to(at::kFloat).unsqueeze(0); };
    const Tensor latents = tensor("latents"), noise = tensor("noise"), time = row.tensor("timestep").to(at::kLong).flatten();
    const Tensor predicted =
        model.denoiser()->predict(schedule.add_noise(latents, noise, time), schedule.network_times(time),
                                  {tensor("encoder_hidden_states"), tensor("pooled"), {}},
                                  nn::training_pass(images_of(1), /*seed=*/1, /*step=*/2, recompute));
    ((predicted - schedule.target(latents, noise, time)).square().mean() / 4).backward();
  }
  const io::SafetensorsFile file(kFolder / "expected.safetensors");
  EXPECT_EQ(method->parameters().size(), 2u * (3 * 8 - 1));  // the last block has no to_add_out
  for (const nn::Parameter& parameter : method->parameters()) {
    test::expect_close(parameter.tensor.grad(), file.tensor("grad.base_model.model." + parameter.name), 1e-5, parameter.name);
  }
}

TEST(Sd3, LoraHasTheGradientsOfPeft) {
  for (const nn::Recompute recompute : {nn::Recompute::kNothing, nn::Recompute::kFeedForward, nn::Recompute::kLayers}) {
    expect_gradients(recompute);
  }
}

TEST(Sd3, RefusesWhatItIsNot) {
  const auto refuses = [](const Json& changes, const std::vector<std::string>& parts) {
    test::expect_error(ErrorKind::kModel, parts, [&] { load_transformer(changes); });
  };
  refuses({{"_class_name", "LTXVideoTransformer3DModel"}}, {"_class_name", "LTXVideoTransformer3DModel", "SD3Transformer2DModel"});
  refuses({{"qk_norm", "layer_norm"}}, {"qk_norm", "layer_norm", "rms_norm"});
  refuses({{"caption_projection_dim", 24}}, {"caption_projection_dim", "24", "16"});
  refuses({{"dual_attention_layers", {3}}}, {"dual_attention_layers", "0 to 2"});
  refuses({{"out_channels", 32}}, {"in_channels", "32"});
  refuses({{"num_layers", 4}}, {"transformer_blocks.2"});
  const nn::Model model = load_transformer();
  const nn::Pass pass = nn::evaluation_pass(images_of(1));
  const auto refuses_inputs = [&](at::IntArrayRef latents, const Tensor& pooled, const std::vector<std::string>& parts) {
    test::expect_error(ErrorKind::kModel, parts, [&] {
      model.denoiser()->predict(at::zeros(latents), at::zeros({1}), {at::zeros({1, 5, 40}), pooled, {}}, pass);
    });
  };
  refuses_inputs({1, 16, 7, 8}, at::zeros({1, 32}), {"7 by 8", "multiples of 2"});
  refuses_inputs({1, 16, 4, 14}, at::zeros({1, 32}), {"4 by 14", "12", "pos_embed_max_size"});
  refuses_inputs({1, 16, 4, 4}, {}, {"pooled text", "missing", "[1, 32]"});
  refuses_inputs({1, 4, 4, 4}, at::zeros({1, 32}), {"latents", "[1, 4, 4, 4]", "[1, 16, 4, 4]"});
}

TEST(FlowSchedule, HasDiffusersSigmas) {
  const io::SafetensorsFile file(kFolder / "expected.safetensors");
  const auto expect = [&](const std::string& name, const Json& config) {
    const Tensor from_noisiest = flow_schedule(config).sigmas_T().flip(0).slice(0, 0, 1000, 37);
    test::expect_near(from_noisiest, file.tensor("sigmas." + name), 1e-6, name);
  };
  expect("1.0", Json::object());
  expect("3.0", {{"shift", 3.0}});
  expect("3.1", {{"shift", 3.0}, {"use_dynamic_shifting", true}});
  const auto refuses = [](const Json& config, const std::vector<std::string>& parts) {
    test::expect_error(ErrorKind::kModel, parts, [&] { flow_schedule(config); });
  };
  refuses({{"shift", 0}}, {"scheduler_config.json: shift", "0", "above 0"});
  refuses({{"invert_sigmas", true}}, {"invert_sigmas", "true", "false"});
  refuses({{"num_train_timesteps", 1}}, {"num_train_timesteps", "1"});
  refuses({{"time_shift_type", "cubic"}}, {"time_shift_type", "cubic", "exponential"});
  refuses({{"shift_terminal", 0.1}}, {"shift_terminal", "0.1"});
}

TEST(FlowSampler, HasDiffusersLatents) {
  const nn::Model model = load_transformer();
  const io::SafetensorsFile file(kFolder / "expected.safetensors");
  const auto states = [&](const char* name, int64_t image) { return file.tensor(name).slice(0, image, image + 1); };
  const Guidance guidance{{states("square.states", 1), states("square.pooled", 1), {}},
                          {states("square.states", 0), states("square.pooled", 0), {}},
                          7.0};
  const auto expect = [&](const std::string& name, Json config, bool ends_at_one_step) {
    config["_class_name"] = "FlowMatchEulerDiscreteScheduler";
    const JsonReader reader(config, "scheduler_config.json", ErrorKind::kModel);
    const std::unique_ptr<Sampler> sampler = make_flow_sampler(reader, {4, 16, ends_at_one_step});
    test::expect_near(at::tensor(sampler->timesteps()), file.tensor("sampler." + name + ".times"), 1e-3, name);
    const Tensor latents = sample_latents(*model.denoiser(), *sampler, guidance, states("square.sample", 0), {});
    test::expect_close(latents, file.tensor("sampler." + name + ".latents"), 1e-4, name);
  };
  expect("sd3", {{"shift", 3.0}}, false);
  expect("flux", {{"shift", 1.0}}, true);
  expect("dynamic", {{"shift", 3.0}, {"use_dynamic_shifting", true}}, true);
  expect("dynamic_sd3", {{"use_dynamic_shifting", true}, {"base_shift", 0.4}, {"max_shift", 1.3}}, false);
  expect("linear", {{"use_dynamic_shifting", true}, {"time_shift_type", "linear"}}, true);
  const Json config = {{"_class_name", "FlowMatchEulerDiscreteScheduler"}};
  const JsonReader reader(config, "scheduler_config.json", ErrorKind::kModel);
  for (const int64_t steps : {0, 1001}) {
    test::expect_error(ErrorKind::kConfig, {"steps", std::to_string(steps), "1000"}, [&] { make_flow_sampler(reader, {steps, 16}); });
  }
  EXPECT_EQ(make_flow_sampler(reader, {1, 16})->timesteps(), std::vector<double>{1000});
}

}  // namespace
}  // namespace lora::diffusion
