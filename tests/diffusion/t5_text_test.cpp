// N captions, S positions, D channels.
#include "diffusion/t5_text.h"

#include <fstream>

#include "lora/diffusion/text_encoders.h"
#include "lora/io/tensors.h"
#include "support/expect_error.h"
#include "support/pipeline_files.h"
#include "support/tensors.h"

namespace lora::diffusion {
namespace {

namespace fs = std::filesystem;

const fs::path kT5 = lora::test::kData / "diffusion" / "t5";

/// A pipeline of text encoders alone, from components of the small SDXL and of T5: {component here, its source}.
fs::path write_text_pipeline(const lora::test::TemporaryFolder& folder, const std::string& class_name,
                             const std::map<std::string, std::string>& components) {
  const fs::path path = folder / class_name;
  Json index{{"_class_name", class_name}};
  for (const auto& [component, source] : components) {
    for (const std::string kind : {"text_encoder", "tokenizer"}) {
      const fs::path from = source == "t5" ? kT5 / kind : lora::test::pipeline_folder("sdxl") / (kind + source);
      fs::create_directories(path);
      fs::copy(from, path / (kind + component), fs::copy_options::recursive);
      index[kind + component] = {"transformers", "a class"};
    }
  }
  std::ofstream(path / "model_index.json") << index.dump();
  return path;
}

std::vector<CaptionIds> captions_of(const Pipeline& pipeline) {
  const CaptionTokenizers tokenizers(pipeline);
  std::vector<CaptionIds> ids;
  for (const Json& caption : read_json(kT5 / "captions.json", ErrorKind::kData)) {
    ids.push_back(tokenizers.encode(caption));
  }
  return ids;
}

/// The kept positions of the states, some of which count from the end.
Tensor at_positions(const Tensor& states_NSD, const Tensor& positions) {
  const int64_t length = states_NSD.size(1);
  return states_NSD.index_select(1, at::where(positions < 0, positions + length, positions));
}

TEST(T5Text, StatesOfSd3AndFluxAreThoseOfDiffusers) {
  const lora::test::TemporaryFolder folder;
  const io::SafetensorsFile expected(kT5 / "expected.safetensors");
  const Pipeline flux({write_text_pipeline(folder, "FluxPipeline", {{"", ""}, {"_2", "t5"}})});
  const Pipeline sd3({write_text_pipeline(folder, "StableDiffusion3Pipeline", {{"", "_2"}, {"_2", "_2"}, {"_3", "t5"}})});
  EXPECT_EQ(flux.network(), std::string(kTransformer));
  const std::vector<CaptionIds> captions = captions_of(flux);
  for (size_t i = 0; i < captions.size(); ++i) {
    const std::vector<int32_t>& ids = captions[i].of_encoder[1];
    lora::test::expect_equal(at::tensor(std::vector<int64_t>(ids.begin(), ids.end()), at::kLong),
                             expected.tensor("ids")[static_cast<int64_t>(i)]);
  }
  EXPECT_GT(captions[2].num_cut, 0);
  for (const auto& [name, pipeline] : {std::pair<std::string, const Pipeline*>{"flux", &flux}, {"sd3", &sd3}}) {
    const nn::ImageCondition found = TextEncoders(*pipeline, at::kFloat).encode(captions_of(*pipeline));
    EXPECT_EQ(found.states_NSD.size(1), name == "flux" ? 512 : 77 + 256);
    // The scores of T5 are not scaled down, which makes its states more sensitive to the order of sums than CLIP's.
    lora::test::expect_close(at_positions(found.states_NSD, expected.tensor("positions")), expected.tensor(name + ".states"), 3e-6, name);
    lora::test::expect_close(found.pooled_NP, expected.tensor(name + ".pooled"), 1e-6, name);
  }
}

TEST(T5Text, RecomputesLayersThatShareATrainedBias) {
  const lora::test::TemporaryFolder folder;
  const Pipeline pipeline({write_text_pipeline(folder, "FluxPipeline", {{"", ""}, {"_2", "t5"}})});
  const ComponentConfig config = pipeline.config("text_encoder_2");
  const auto weights = pipeline.weights("text_encoder_2");
  T5Text model(read_t5_text_config(config.reader()), *weights, at::kFloat);
  const std::vector<int32_t> ids{5, 3, 8, 2, 9, 1};
  const auto gradient = [&](nn::Recompute recompute) {
    for (nn::Host* host : model.hosts()) {
      if (!host->name().ends_with("relative_attention_bias")) {
        continue;
      }
      host->remove_adapters();
      const Tensor table = host->base_parameters().front().tensor.clone().requires_grad_(true);
      host->weights().front().replace("a", table);
      host->use_adapter("a");
      const nn::Pass pass = nn::training_pass(nn::make_token_batch({{&ids, nullptr, 0}}), /*seed=*/1, /*step=*/1, recompute);
      model.hidden(pass).sigmoid().sum().backward();
      return table.grad();
    }
    return Tensor();
  };
  const Tensor expected = gradient(nn::Recompute::kNothing);
  EXPECT_GT(expected.abs().max().item<double>(), 0.0);
  lora::test::expect_close(gradient(nn::Recompute::kLayers), expected, 1e-5);
}

TEST(T5Text, RefusesConfigsThatItDoesNotFollow) {
  const Json config = read_json(kT5 / "text_encoder" / "config.json", ErrorKind::kData);
  const auto refused = [&config](const std::string& key, const Json& value, const std::string& part) {
    Json changed = config;
    changed[key] = value;
    lora::test::expect_error(ErrorKind::kModel, {"t5.json: " + key, part},
                             [&] { read_t5_text_config(JsonReader(changed, "t5.json", ErrorKind::kModel)); });
  };
  refused("feed_forward_proj", "relu", "T5 1.1");
  refused("feed_forward_proj", "gated-mish", "'mish'");
  refused("relative_attention_num_buckets", 6, "a multiple of 4");
  refused("relative_attention_max_distance", 8, "more than a quarter");
  refused("d_model", 0, "16777216");
  refused("layer_norm_epsilon", -1.0, "a positive number");
}

}  // namespace
}  // namespace lora::diffusion
