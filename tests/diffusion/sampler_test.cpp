#include "lora/diffusion/sampler.h"

#include <map>

#include "lora/diffusion/pipeline.h"
#include "lora/diffusion/unet.h"
#include "lora/io/tensors.h"
#include "support/expect_error.h"
#include "support/pipeline_files.h"
#include "support/tensors.h"

namespace lora::diffusion {
namespace {

constexpr int64_t kSteps = 5;

/// A pipeline's UNet and what it is given for two images: the negative one and the other.
struct Sampled {
  explicit Sampled(const std::string& family)
      : pipeline({test::pipeline_folder(family)}), expected(test::kData / "diffusion" / family / "expected.safetensors") {
    const ComponentConfig config = pipeline.config(kUnet);
    const std::unique_ptr<io::Checkpoint> weights = pipeline.weights(kUnet);
    model = make_unet(config.json, config.where, *weights, at::kFloat);
    guidance = {condition(1), condition(0), 7.5};
  }

  nn::ImageCondition condition(int64_t image) const {
    const auto part = [&](const std::string& name) {
      return expected.contains(name) ? expected.tensor(name).slice(0, image, image + 1).to(at::kFloat) : Tensor();
    };
    return {part("sampler.states"), part("sampler.text_embeds"), part("sampler.time_ids")};
  }

  /// Latents after each step, with the scheduler's config changed.
  Tensor run(const std::string& name, const Json& changes) const {
    Json config = pipeline.config(kScheduler).json;
    config.merge_patch(changes);
    const JsonReader reader(config, "scheduler_config.json", ErrorKind::kModel);
    const SamplerKind kind = *kSamplerKinds.find(name.substr(0, name.find('.')));
    const std::unique_ptr<Sampler> sampler = make_sampler(kind, reader, NoiseSchedule(reader), kSteps);
    test::expect_near(at::tensor(sampler->timesteps()), expected.tensor("sampler." + name + ".timesteps"), 1e-3, name + " timesteps");
    std::vector<Tensor> latents;
    const SamplingCalls calls{[&](int64_t step) { return expected.tensor("sampler.noise")[step].unsqueeze(0); },
                              [&](int64_t, const Tensor& after) { latents.push_back(after[0]); }};
    const auto& network = dynamic_cast<const nn::Denoiser&>(*model.body);
    sample_latents(network, *sampler, guidance, expected.tensor("sampler.start").unsqueeze(0), calls);
    return at::stack(latents);
  }

  Pipeline pipeline;
  io::SafetensorsFile expected;
  nn::Model model;
  Guidance guidance;
};

void expect_samples(const std::string& family, std::map<std::string, Json> cases) {
  const Sampled sampled(family);
  for (const auto& [kind, name] : kSamplerKinds.entries) {
    if (kind != SamplerKind::kFlowEuler) {
      cases[std::string(name)] = Json::object();
    }
  }
  for (const auto& [name, changes] : cases) {
    test::expect_close(sampled.run(name, changes), sampled.expected.tensor("sampler." + name + ".latents"), 1e-4, family + " " + name);
  }
}

TEST(Sampler, HasDiffusersLatents) {
  const Json leading = {{"timestep_spacing", "leading"}}, trailing = {{"timestep_spacing", "trailing"}};
  expect_samples("sd1", {{"ddim.trailing", {{"timestep_spacing", "trailing"}, {"set_alpha_to_one", true}}},
                         {"ddim.linspace", {{"timestep_spacing", "linspace"}}},
                         {"euler.trailing", trailing},
                         {"euler_a.leading", leading},
                         {"dpmpp_2m.leading", leading},
                         {"dpmpp_2m.trailing", trailing}});
  const Json zero = {{"timestep_spacing", "trailing"}, {"rescale_betas_zero_snr", true}};
  expect_samples("sd2", {{"ddim.zero_snr", zero}, {"euler.zero_snr", zero}});
  const Json karras = {{"use_karras_sigmas", true}};
  expect_samples("sdxl", {{"euler.karras", karras}, {"dpmpp_2m.karras", karras}});
}

/// A network that answers with what it is given, and counts images.
class Echo : public nn::Denoiser {
 public:
  Tensor predict(const Tensor& latents_NCHW, const Tensor&, const nn::ImageCondition&, const nn::Pass&) const override {
    most_images = std::max(most_images, latents_NCHW.size(0));
    return latents_NCHW;
  }
  int64_t latent_channels() const override { return 1; }

  mutable int64_t most_images = 0;
};

TEST(Sampler, ComputesNoNegativeImageWithoutGuidance) {
  const Json config = {{"clip_sample", false}};
  const JsonReader reader(config, "scheduler_config.json", ErrorKind::kModel);
  const Tensor noise = test::normal({2, 1, 2, 2}, 1, at::kFloat), states = at::zeros({2, 1, 1});
  const NoiseSchedule schedule(reader);
  for (const double scale : {1.0, 3.0}) {
    const Echo network;
    const std::unique_ptr<Sampler> sampler = make_sampler(SamplerKind::kDdim, reader, schedule, 2);
    const Tensor latents = sample_latents(network, *sampler, {{states, {}, {}}, {states, {}, {}}, scale}, noise, {});
    EXPECT_EQ(network.most_images, scale > 1 ? 4 : 2);
    EXPECT_TRUE(at::isfinite(latents).all().item<bool>());
  }
}

TEST(Sampler, RefusesWhatItDoesNotDo) {
  const auto refuses = [](SamplerKind kind, const Json& config, const std::vector<std::string>& parts) {
    const JsonReader reader(config, "scheduler_config.json", ErrorKind::kModel);
    test::expect_error(ErrorKind::kModel, parts, [&] { make_sampler(kind, reader, NoiseSchedule(reader), 10); });
  };
  using enum SamplerKind;
  refuses(kDdim, {{"timestep_spacing", "sideways"}}, {"scheduler_config.json: timestep_spacing", "sideways", "leading"});
  refuses(kDdim, {{"thresholding", true}}, {"thresholding", "true", "ddim"});
  refuses(kDdim, {{"steps_offset", 500}}, {"steps_offset", "500", "999"});
  refuses(kEuler, {{"use_beta_sigmas", true}}, {"use_beta_sigmas", "euler"});
  refuses(kDpmPlusPlus2m, {{"algorithm_type", "sde-dpmsolver++"}}, {"algorithm_type", "sde-dpmsolver++", "dpmpp_2m"});
  refuses(kDpmPlusPlus2m, {{"solver_order", 3}}, {"solver_order", "3", "2"});
  const Json other = {{"algorithm_type", "sde-dpmsolver++"}};
  const JsonReader reader(other, "scheduler_config.json", ErrorKind::kModel);
  test::expect_error(ErrorKind::kConfig, {"flow_euler"}, [&] { make_sampler(kFlowEuler, reader, NoiseSchedule(reader), 7); });
  EXPECT_EQ(make_sampler(kEuler, reader, NoiseSchedule(reader), 7)->num_steps(), 7);
  for (const int64_t steps : {0, 1001}) {
    test::expect_error(ErrorKind::kConfig, {"steps", std::to_string(steps), "1000"},
                       [&] { make_sampler(kEuler, reader, NoiseSchedule(reader), steps); });
  }
  const Json plain = Json::object();
  const JsonReader defaults(plain, "scheduler_config.json", ErrorKind::kModel);
  EXPECT_EQ(make_sampler(kDpmPlusPlus2m, defaults, NoiseSchedule(defaults), 999)->num_steps(), 999);
  test::expect_error(ErrorKind::kConfig, {"steps", "1000", "999"},
                     [&] { make_sampler(kDpmPlusPlus2m, defaults, NoiseSchedule(defaults), 1000); });
}

}  // namespace
}  // namespace lora::diffusion
