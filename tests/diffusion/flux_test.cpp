// FLUX.1's transformer and a sample of it compared with diffusers, and LoRA with PEFT (tests/data/diffusion/flux,
// scripts/golden/diffusion_flux.py).
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

const std::filesystem::path kFluxFolder = test::kData / "diffusion" / "flux";

nn::Model load_flux(const Json& changes = Json::object()) {
  const Pipeline pipeline({.path = kFluxFolder / "model"});
  ComponentConfig config = pipeline.config(kTransformer);
  config.json.merge_patch(changes);
  const std::unique_ptr<io::Checkpoint> weights = pipeline.weights(kTransformer);
  return make_network(kTransformer, config, *weights, at::kFloat);
}

nn::Batch places_of(int64_t count) {
  nn::Batch batch;
  std::vector<nn::DocumentPlace> places;
  for (int64_t i = 0; i < count; ++i) {
    places.push_back({.length = 1, .sample_id = i});
  }
  batch.layout = nn::make_layout(places);
  return batch;
}

FlowSchedule flux_schedule() {
  const Pipeline pipeline({.path = kFluxFolder / "model"});
  const ComponentConfig config = pipeline.config(kScheduler);
  return FlowSchedule(config.reader());
}

TEST(Flux, GivesTheOutputsOfDiffusers) {
  const io::SafetensorsFile file(kFluxFolder / "expected.safetensors");
  const auto output_of = [&](const nn::Model& model, const std::string& name) {
    const Tensor guidance = model.denoiser()->takes_guidance() ? at::full({2}, 2.5) : Tensor();
    const nn::ImageCondition condition{file.tensor(name + ".states"), file.tensor(name + ".pooled"), {}, guidance};
    return model.denoiser()->predict(file.tensor(name + ".sample"), file.tensor(name + ".times"), condition,
                                     nn::evaluation_pass(places_of(2)));
  };
  const nn::Model dev = load_flux();
  EXPECT_EQ(dev.denoiser()->latent_channels(), 16);
  for (const std::string name : {"square", "wide"}) {
    test::expect_close(output_of(dev, name), file.tensor(name + ".output"), 1e-5, name);
  }
  test::expect_close(output_of(load_flux({{"guidance_embeds", false}}), "wide"), file.tensor("schnell.output"), 1e-5, "schnell");
}

/// The gradients of the mean loss of the first four rows, by hand from the rows' files.
void expect_flux_gradients(nn::Recompute recompute) {
  nn::Model model = load_flux();
  peft::LoraOptions options;
  options.init_from = kFluxFolder / "adapter";
  options.r = 2;
  options.lora_alpha = 4;
  const Json config = read_json(*options.init_from / "adapter_config.json", ErrorKind::kModel);
  options.target_modules = {peft::ModuleChoice::Kind::kList, config["target_modules"].get<std::vector<std::string>>(), ""};
  const std::unique_ptr<peft::Method> method = peft::attach_adapter(options, model, peft::BaseReference("", ""), /*seed=*/1);
  const FlowSchedule schedule = flux_schedule();
  for (int64_t i = 0; i < 4; ++i) {
    const io::SafetensorsFile row(kFluxFolder / "rows" / (std::to_string(i) + ".safetensors"));
    const auto tensor = [&row](const char* name) { return row.tensor(name).to(at::kFloat).unsqueeze(0); };
    const Tensor latents = tensor("latents"), noise = tensor("noise"), time = row.tensor("timestep").to(at::kLong).flatten();
    const nn::ImageCondition condition{tensor("encoder_hidden_states"), tensor("pooled"), {}, at::full({1}, 3.5)};
    const Tensor predicted = model.denoiser()->predict(schedule.add_noise(latents, noise, time), schedule.network_times(time), condition,
                                                       nn::training_pass(places_of(1), /*seed=*/1, /*step=*/2, recompute));
    ((predicted - schedule.target(latents, noise, time)).square().mean() / 4).backward();
  }
  const io::SafetensorsFile file(kFluxFolder / "expected.safetensors");
  EXPECT_EQ(method->parameters().size(), 2u * (14 + 2 * 6 + 7));  // of the double block, of single blocks, and of the rest
  for (const nn::Parameter& parameter : method->parameters()) {
    test::expect_close(parameter.tensor.grad(), file.tensor("grad.base_model.model." + parameter.name), 1e-5, parameter.name);
  }
}

TEST(Flux, LoraHasTheGradientsOfPeft) {
  for (const nn::Recompute recompute : {nn::Recompute::kNothing, nn::Recompute::kFeedForward, nn::Recompute::kLayers}) {
    expect_flux_gradients(recompute);
  }
}

TEST(Flux, HasDiffusersSample) {
  const nn::Model model = load_flux();
  const io::SafetensorsFile file(kFluxFolder / "expected.safetensors");
  const auto first = [&](const char* name) { return file.tensor(name).slice(0, 0, 1); };
  const Guidance guidance{{first("square.states"), first("square.pooled"), {}, at::full({1}, 3.5)}, {}, 1.0};
  const Pipeline pipeline({.path = kFluxFolder / "model"});
  const ComponentConfig config = pipeline.config(kScheduler);
  const std::unique_ptr<Sampler> sampler = make_flow_sampler(config.reader(), {4, 4, /*ends_at_one_step=*/true});
  const Tensor latents = sample_latents(*model.denoiser(), *sampler, guidance, first("square.sample"), {});
  test::expect_close(latents, file.tensor("sampler.latents"), 1e-4, "latents");
}

TEST(Flux, RefusesWhatItIsNot) {
  const auto refuses = [](const Json& changes, const std::vector<std::string>& parts) {
    test::expect_error(ErrorKind::kModel, parts, [&] { load_flux(changes); });
  };
  refuses({{"axes_dims_rope", {2, 2, 2}}}, {"axes_dims_rope", "attention_head_dim (8)"});
  refuses({{"axes_dims_rope", {1, 3, 4}}}, {"axes_dims_rope", "even"});
  refuses({{"out_channels", 32}}, {"in_channels", "32", "Fill"});
  refuses({{"in_channels", 62}}, {"in_channels", "62", "multiple of 4"});
  refuses({{"patch_size", 2}}, {"patch_size", "2", "1"});
  refuses({{"num_single_layers", 3}}, {"single_transformer_blocks.2"});
  const nn::Model model = load_flux();
  const nn::Pass pass = nn::evaluation_pass(places_of(1));
  const auto refuses_inputs = [&](at::IntArrayRef latents, const Tensor& guidance, const std::vector<std::string>& parts) {
    test::expect_error(ErrorKind::kModel, parts, [&] {
      model.denoiser()->predict(at::zeros(latents), at::zeros({1}), {at::zeros({1, 5, 40}), at::zeros({1, 16}), {}, guidance}, pass);
    });
  };
  refuses_inputs({1, 16, 7, 8}, at::ones({1}), {"7 by 8", "multiples of 2"});
  refuses_inputs({1, 4, 8, 8}, at::ones({1}), {"latents", "[1, 4, 8, 8]", "[1, 16, 8, 8]"});
  refuses_inputs({1, 16, 8, 8}, {}, {"guidance", "missing", "[1]"});
}

}  // namespace
}  // namespace lora::diffusion
