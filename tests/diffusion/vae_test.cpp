#include "lora/diffusion/vae.h"

#include <cmath>
#include <limits>

#include "lora/diffusion/pipeline.h"
#include "lora/io/tensors.h"
#include "support/expect_error.h"
#include "support/pipeline_files.h"
#include "support/tensors.h"

namespace lora::diffusion {
namespace {

void expect_expected(const Vae& vae, const io::SafetensorsFile& expected, double scaling, double shift, const std::string& what) {
  const LatentDistribution found = vae.encode(expected.tensor("vae.image"));
  const Tensor mean = (expected.tensor("vae.mean") - shift) * scaling;
  test::expect_close(found.mean_NCHW, mean, 1e-5, what + " mean");
  const Tensor log_variance = found.log_variance_NCHW - 2 * std::log(scaling);
  test::expect_close(log_variance, expected.tensor("vae.logvar"), 1e-5, what + " log-variance");
  const Tensor latents = found.mean_NCHW + (found.log_variance_NCHW / 2).exp() * expected.tensor("vae.noise");
  test::expect_close(latents, expected.tensor("vae.latents"), 1e-5, what + " latents");
  test::expect_close(vae.decode(expected.tensor("vae.to_decode")), expected.tensor("vae.decoded"), 1e-5, what + " image");
}

Vae vae_of(const std::string& family, VaeParts parts = VaeParts::kBoth) {
  const Pipeline pipeline({test::pipeline_folder(family)});
  const ComponentConfig config = pipeline.config(kVae);
  const std::unique_ptr<io::Checkpoint> weights = pipeline.weights(kVae);
  Vae vae(config.json, config.where, *weights, at::kFloat, parts);
  EXPECT_EQ(weights->unused().empty(), parts == VaeParts::kBoth);
  return vae;
}

TEST(Vae, EncodesAndDecodesAsDiffusers) {
  for (const char* family : {"sd1", "sd2", "sdxl"}) {
    const io::SafetensorsFile expected(test::kData / "diffusion" / family / "expected.safetensors");
    const Vae vae = vae_of(family);
    EXPECT_EQ(vae.downscale(), 8);
    EXPECT_EQ(vae.latent_channels(), 4);
    expect_expected(vae, expected, std::string(family) == "sdxl" ? 0.13025 : 0.18215, 0, family);
    test::expect_equal(vae_of(family, VaeParts::kEncoder).encode(expected.tensor("vae.image")).mean_NCHW,
                       vae.encode(expected.tensor("vae.image")).mean_NCHW);
    test::expect_equal(vae_of(family, VaeParts::kDecoder).decode(expected.tensor("vae.to_decode")),
                       vae.decode(expected.tensor("vae.to_decode")));
  }
}

TEST(Vae, HasSixteenChannelsAndAShift) {
  const std::filesystem::path folder = test::kData / "diffusion" / "vae16";
  const Pipeline pipeline({.path = test::pipeline_folder("sd1"), .vae = folder});
  const ComponentConfig config = pipeline.config(kVae);
  const std::unique_ptr<io::Checkpoint> weights = pipeline.weights(kVae);
  const Vae vae(config.json, config.where, *weights, at::kFloat);
  EXPECT_EQ(vae.latent_channels(), 16);
  expect_expected(vae, io::SafetensorsFile(folder / "expected.safetensors"), 0.3611, 0.1159, "vae16");
}

TEST(Vae, ScalesEachChannelWhereTheConfigSaysSo) {
  const Pipeline pipeline({test::pipeline_folder("sdxl")});
  ComponentConfig config = pipeline.config(kVae);
  config.json["latents_mean"] = {-1.5, 0.5, 2.0, 0.0};
  config.json["latents_std"] = {2.0, 4.0, 1.0, 8.0};
  const std::unique_ptr<io::Checkpoint> weights = pipeline.weights(kVae);
  const Vae vae(config.json, config.where, *weights, at::kFloat);
  const io::SafetensorsFile expected(test::kData / "diffusion" / "sdxl" / "expected.safetensors");
  const Tensor mean = at::tensor({-1.5, 0.5, 2.0, 0.0}).view({1, 4, 1, 1}).to(at::kFloat);
  const Tensor deviation = at::tensor({2.0, 4.0, 1.0, 8.0}).view({1, 4, 1, 1}).to(at::kFloat);
  const LatentDistribution found = vae.encode(expected.tensor("vae.image"));
  test::expect_close(found.mean_NCHW, (expected.tensor("vae.mean") - mean) * 0.13025 / deviation, 1e-5);
  test::expect_close((found.log_variance_NCHW / 2).exp(), (expected.tensor("vae.logvar") / 2).exp() * 0.13025 / deviation, 1e-5);
  const Tensor plain = expected.tensor("vae.to_decode") / 0.13025;
  test::expect_close(vae.decode((plain - mean) * 0.13025 / deviation), expected.tensor("vae.decoded"), 1e-5);
}

TEST(Vae, RefusesWhatItHasNoPartFor) {
  const auto refuses = [](const char* changes, const std::vector<std::string>& parts) {
    const Pipeline pipeline({test::pipeline_folder("sd1")});
    ComponentConfig config = pipeline.config(kVae);
    config.json.merge_patch(Json::parse(changes));
    const std::unique_ptr<io::Checkpoint> weights = pipeline.weights(kVae);
    test::expect_error(ErrorKind::kModel, parts, [&] { Vae(config.json, "vae/config.json", *weights, at::kFloat); });
  };
  refuses(R"({"_class_name": "AutoencoderTiny"})", {"vae/config.json: _class_name", "AutoencoderTiny", "AutoencoderKL"});
  refuses(R"({"act_fn": "gelu"})", {"act_fn", "gelu", "silu"});
  refuses(R"({"in_channels": 4})", {"in_channels", "4", "3"});
  refuses(R"({"norm_num_groups": 3})", {"norm_num_groups", "3", "divisor"});
  refuses(R"({"block_out_channels": []})", {"block_out_channels", "list"});
  refuses(R"({"down_block_types": ["AttnDownEncoderBlock2D"]})", {"down_block_types", "DownEncoderBlock2D"});
  refuses(R"({"latents_mean": [0, 0, 0, 0]})", {"latents_std"});
  refuses(R"({"latents_mean": [0, 0, 0], "latents_std": [1, 1, 1]})", {"latents_mean", "4"});
  refuses(R"({"scaling_factor": 0})", {"scaling_factor", "positive"});
  refuses(R"({"layers_per_block": 2})", {"encoder.down_blocks.0.resnets.1"});
  refuses(R"({"latent_channels": 8})", {"encoder.conv_out.weight"});
}

TEST(Vae, RefusesOtherShapesAndOverflow) {
  const Vae vae = vae_of("sd1");
  test::expect_error(ErrorKind::kModel, {"images", "[1, 3, 20, 24]", "multiples of 8"}, [&] { vae.encode(at::zeros({1, 3, 20, 24})); });
  test::expect_error(ErrorKind::kModel, {"latents", "[1, 16, 2, 2]", "4"}, [&] { vae.decode(at::zeros({1, 16, 2, 2})); });
  EXPECT_TRUE(at::isfinite(vae.decode(at::full({1, 4, 2, 2}, std::numeric_limits<double>::quiet_NaN()))).all().item<bool>());
  test::expect_error(ErrorKind::kModel, {"not finite", "float32"}, [&] { vae.encode(at::full({1, 3, 8, 8}, 3e38)); });
}

}  // namespace
}  // namespace lora::diffusion
