// Images of whole pipelines, from the prompt to the pixels, as diffusers' pipelines compute them.
#include "lora/diffusion/pipeline.h"
#include "lora/diffusion/prompts.h"
#include "lora/diffusion/sampler.h"
#include "lora/diffusion/unet.h"
#include "lora/diffusion/vae.h"
#include "lora/io/tensors.h"
#include "support/pipeline_files.h"
#include "support/tensors.h"

namespace lora::diffusion {
namespace {

/// Values from 0 to 255, not rounded.
Tensor pixels_of(const std::string& family, const io::SafetensorsFile& expected, const std::optional<std::string>& negative) {
  const Pipeline pipeline({test::pipeline_folder(family)});
  const auto part = [&pipeline](const char* name) { return std::pair(pipeline.config(name), pipeline.weights(name)); };
  const auto [unet_config, unet_weights] = part(kUnet);
  const auto [vae_config, vae_weights] = part(kVae);
  const nn::Model model = make_unet(unet_config.json, unet_config.where, *unet_weights, at::kFloat);
  const Vae vae(vae_config.json, vae_config.where, *vae_weights, at::kFloat, VaeParts::kDecoder);
  const TextEncoders encoders(pipeline, at::kFloat);
  const EncodedPrompt prompt = encode_prompt(pipeline, encoders, {"a photo of a cat", negative, 64, 64});
  EXPECT_EQ(prompt.num_cut + prompt.num_cut_negative, 0);
  if (!negative) {
    const Tensor states = at::cat({prompt.negative.states_NSD, prompt.condition.states_NSD});
    test::expect_close(states, expected.tensor("sampler.states"), 1e-5, family + " states");
  }
  const ComponentConfig config = pipeline.config(kScheduler);
  const NoiseSchedule schedule(config.reader());
  const std::unique_ptr<Sampler> sampler = make_sampler(SamplerKind::kDdim, config.reader(), schedule, 5);
  const Tensor latents = sample_latents(dynamic_cast<const nn::Denoiser&>(*model.body), *sampler, {prompt.condition, prompt.negative, 7.5},
                                        expected.tensor("sampler.start").unsqueeze(0), {});
  return (vae.decode(latents)[0] / 2 + 0.5).clamp(0, 1).permute({1, 2, 0}) * 255;
}

TEST(WholePipeline, HasDiffusersImages) {
  for (const char* family : {"sd1", "sd2", "sdxl"}) {
    const io::SafetensorsFile expected(test::kData / "diffusion" / family / "expected.safetensors");
    const Tensor plain = expected.tensor("image.plain").to(at::kFloat), negative = expected.tensor("image.negative").to(at::kFloat);
    EXPECT_GT(plain.std().item<double>(), 1) << "an image that shows something";
    EXPECT_GT((plain - negative).abs().max().item<double>(), 1) << "a negative prompt that has an effect";
    test::expect_near(pixels_of(family, expected, std::nullopt), plain, 0.55, std::string(family) + " plain");
    test::expect_near(pixels_of(family, expected, "a red house"), negative, 0.55, std::string(family) + " negative");
  }
}

TEST(WholePipeline, CountsTokensThatAreCut) {
  const Pipeline pipeline({test::pipeline_folder("sd1")});
  const TextEncoders encoders(pipeline, at::kFloat);
  std::string longer;
  for (int i = 0; i < 80; ++i) {
    longer += "! ";
  }
  const EncodedPrompt prompt = encode_prompt(pipeline, encoders, {"a", longer, 64, 64});
  EXPECT_EQ(prompt.num_cut, 0);
  EXPECT_EQ(prompt.num_cut_negative, 5);
  EXPECT_FALSE(prompt.condition.time_ids_N6.defined());
}

}  // namespace
}  // namespace lora::diffusion
