// N captions, L positions, D channels.
#include "lora/diffusion/text_encoders.h"

#include <fstream>

#include "diffusion/clip_text.h"
#include "lora/io/tensors.h"
#include "support/expect_error.h"
#include "support/pipeline_files.h"
#include "support/tensors.h"

namespace lora::diffusion {
namespace {

using lora::test::expect_close;
using lora::test::pipeline_folder;

std::vector<CaptionIds> encoded(const CaptionTokenizers& tokenizers) {
  std::vector<CaptionIds> ids;
  for (const Json& caption : read_json(lora::test::kData / "diffusion" / "captions.json", ErrorKind::kData)) {
    ids.push_back(tokenizers.encode(caption));
  }
  return ids;
}

TEST(TextEncoders, IdsAndStatesAreThoseOfDiffusers) {
  for (const std::string family : {"sd1", "sd2", "sdxl"}) {
    const io::SafetensorsFile expected(lora::test::kData / "diffusion" / family / "expected.safetensors");
    const Pipeline pipeline({pipeline_folder(family)});
    const std::vector<CaptionIds> captions = encoded(CaptionTokenizers(pipeline));
    TextEncoders encoders(pipeline, at::kFloat);
    for (size_t i = 0; i < encoders.models().size(); ++i) {
      const nn::Batch batch = encoders.batch(i, captions, std::vector<int64_t>(captions.size(), 0));
      const std::string name = "text" + std::to_string(i + 1);
      lora::test::expect_equal(batch.tokens().ids_T.view({-1, 77}), expected.tensor(name + ".ids"), family + " " + name);
      const auto& clip = dynamic_cast<const ClipText&>(*encoders.models()[i].body);
      const at::NoGradGuard no_gradients;
      const nn::Pass pass = nn::evaluation_pass(batch);
      const ClipStates states = clip.states(pass, {.skip = 1, .pooled = true});
      expect_close(states.skipped_TD.view({-1, 77, 16}), expected.tensor(name + ".hidden.2"), 1e-6, family + " " + name);
      expect_close(clip.hidden(pass).view({-1, 77, 16}), expected.tensor(name + ".last_hidden_state"), 1e-6, family + " " + name);
      expect_close(states.pooled_NP, expected.tensor(name + ".pooled"), 1e-6, family + " " + name);
    }
    const nn::ImageCondition condition = encoders.encode(captions);
    EXPECT_FALSE(condition.states_NSD.requires_grad());
    expect_close(condition.states_NSD, expected.tensor(family == "sdxl" ? "text.states" : "text1.last_hidden_state"), 1e-6, family);
    EXPECT_EQ(condition.pooled_NP.defined(), family == "sdxl");
    if (family == "sdxl") {
      expect_close(condition.pooled_NP, expected.tensor("text.pooled"), 1e-6, family);
    } else {
      const TextEncoders skipping(Pipeline({.path = pipeline.path(), .clip_skip = 2}), at::kFloat);
      expect_close(skipping.encode(captions).states_NSD, expected.tensor("text.clip_skip_1"), 1e-6, family);
    }
  }
}

TEST(TextEncoders, CountTokensThatHaveNoRoom) {
  const CaptionTokenizers tokenizers{Pipeline({pipeline_folder("sdxl")})};
  EXPECT_EQ(tokenizers.encode("a photo of a cat").num_cut, 0);
  const CaptionIds ids = tokenizers.encode(std::string(100, '7'));
  EXPECT_EQ(ids.num_cut, 25);
  ASSERT_EQ(ids.of_encoder.size(), 2u);
  EXPECT_EQ(ids.of_encoder[0].size(), 77u);
  EXPECT_EQ(tokenizers.encode("!").of_encoder[1][1], 0);  // the pad token of the second tokenizer
  EXPECT_EQ(ids.of_encoder[0].back(), *tokenizers.first().eos_id());
}

/// The position of the end is that of the config's id, if that is not the wrong one of published files.
TEST(TextEncoders, FollowTheEndOfTheConfig) {
  const lora::test::TemporaryFolder folder;
  const std::filesystem::path path = lora::test::copied_pipeline("sdxl", folder);
  const std::vector<CaptionIds> captions = encoded(CaptionTokenizers(Pipeline({path})));
  const Tensor expected = TextEncoders(Pipeline({path}), at::kFloat).encode(captions).pooled_NP;
  const std::filesystem::path config = path / "text_encoder_2" / "config.json";
  Json json = read_json(config, ErrorKind::kData);
  const auto pooled_with = [&](int64_t eos) {
    json["eos_token_id"] = eos;
    std::ofstream(config) << json.dump();
    return TextEncoders(Pipeline({path}), at::kFloat).encode(captions).pooled_NP;
  };
  lora::test::expect_equal(pooled_with(603), expected);
  EXPECT_FALSE(at::equal(pooled_with(320), expected));
}

void change_config(const std::filesystem::path& file, const std::string& key, const Json& value) {
  Json json = read_json(file, ErrorKind::kData);
  json[key] = value;
  std::ofstream(file) << json.dump();
}

TEST(TextEncoders, RefuseWhatDoesNotFit) {
  const lora::test::TemporaryFolder folder;
  const auto refused = [&](const std::string& key, const Json& value, const std::vector<std::string>& parts) {
    std::filesystem::remove_all(folder / "sd1");
    const std::filesystem::path path = lora::test::copied_pipeline("sd1", folder);
    change_config(path / "text_encoder" / "config.json", key, value);
    lora::test::expect_error(ErrorKind::kModel, parts, [&] {
      const Pipeline pipeline({path});
      TextEncoders(pipeline, at::kFloat).encode(encoded(CaptionTokenizers(pipeline)));
    });
  };
  refused("hidden_act", "mish", {"text_encoder/config.json: hidden_act", "'mish'"});
  refused("num_attention_heads", 3, {"text_encoder/config.json: num_attention_heads", "a divisor"});
  refused("intermediate_size", 31, {"text_encoder: tensor 'text_model.encoder.layers.0.mlp.fc1.weight'", "[32, 16]", "[31, 16]"});
  refused("num_hidden_layers", 4, {"text_model.encoder.layers.3", "is missing"});
  refused("layer_norm_eps", 0, {"layer_norm_eps"});
  refused("hidden_size", "16", {"hidden_size"});
  lora::test::expect_error(ErrorKind::kConfig, {"clip_skip", "found 4, expected 1 to 3"},
                           [] { TextEncoders(Pipeline({.path = pipeline_folder("sd1"), .clip_skip = 4}), at::kFloat); });
  lora::test::expect_error(ErrorKind::kConfig, {"clip_skip", "found 3, expected 1 to 2"},
                           [] { TextEncoders(Pipeline({.path = pipeline_folder("sdxl"), .clip_skip = 3}), at::kFloat); });
  std::filesystem::remove_all(folder / "sd1");
  const std::filesystem::path path = lora::test::copied_pipeline("sd1", folder);
  change_config(path / "tokenizer" / "tokenizer_config.json", "tokenizer_class", "GPT2Tokenizer");
  lora::test::expect_error(ErrorKind::kModel, {"GPT2Tokenizer", "CLIPTokenizer"}, [&] { CaptionTokenizers(Pipeline({path})); });
}

}  // namespace
}  // namespace lora::diffusion
