#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "adapters.h"
#include "lora/base/file.h"
#include "lora/io/tensors.h"
#include "lora/peft/method.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "support/tiny_llama.h"

namespace lora::peft {
namespace {

using test::attach;
using test::default_lora;
using test::expect_error;
using test::kWeights;
using test::TemporaryFolder;
using test::tiny_llama;

TEST(AdapterFile, OfPeftMayContainTheEmbeddingsOfTheBase) {
  const LoraOptions options = default_lora({"embed_tokens", "lm_head", "q_proj"});
  const models::BaseModel base = tiny_llama();
  const TemporaryFolder folder;
  attach(options, base)->save(folder.path());
  std::vector<io::NamedTensor> tensors;
  {
    const io::SafetensorsFile file(folder / kWeights);
    for (const std::string& name : file.names()) {
      tensors.push_back({name, file.tensor(name).clone()});
    }
  }
  for (const nn::Parameter& weight : base.model->base_parameters()) {
    if (weight.name == "model.embed_tokens.weight" || weight.name == "lm_head.weight") {
      tensors.push_back({"base_model.model." + weight.name.substr(0, weight.name.rfind('.')) + ".base_layer.weight", weight.tensor});
    }
  }
  LoraOptions continued = options;
  continued.init_from = folder.path();
  io::save_tensors(folder / kWeights, tensors);
  EXPECT_NO_THROW(attach(continued, tiny_llama()));
  tensors.back().tensor = tensors.back().tensor + 1;
  io::save_tensors(folder / kWeights, tensors);
  // Values that differ from the base's replace them, as in PEFT, and are saved with the adapter again.
  const TemporaryFolder second;
  attach(continued, tiny_llama())->save(second.path());
  const io::SafetensorsFile written(second / kWeights);
  EXPECT_TRUE(at::equal(written.tensor(tensors.back().name), tensors.back().tensor));
  EXPECT_EQ(written.names().size(), tensors.size() - 1);
}

TEST(AdapterFile, WithMissingOrUnexpectedTensorsIsAnError) {
  LoraOptions dora = default_lora({"q_proj"});
  dora.use_dora = true;
  const TemporaryFolder folder;
  attach(dora, tiny_llama())->save(folder.path());
  LoraOptions plain = default_lora({"q_proj"});
  plain.init_from = folder.path();
  expect_error(ErrorKind::kModel, {kWeights, "3 tensors outside of this model", "lora_magnitude_vector"},
               [&] { attach(plain, tiny_llama()); });
  attach(default_lora({"q_proj"}), tiny_llama())->save(folder.path());
  dora.init_from = folder.path();
  expect_error(ErrorKind::kModel, {kWeights, "3 tensors missing", "lora_magnitude_vector"}, [&] { attach(dora, tiny_llama()); });
  LoraOptions saved = default_lora({"q_proj"});
  saved.modules_to_save = {"lm_head"};
  saved.init_from = folder.path();
  expect_error(ErrorKind::kModel, {kWeights, "1 tensor missing: lm_head.weight"}, [&] { attach(saved, tiny_llama()); });
}

TEST(AdapterConfig, RecordsWhatIsTrained) {
  const TemporaryFolder folder;
  const auto written = [&](const LoraOptions& options, const models::BaseModel& base) {
    attach(options, base)->save(folder.path());
    return read_json(folder / "adapter_config.json", ErrorKind::kModel);
  };
  LoraOptions options = default_lora({"q_proj"});
  options.modules_to_save = {"lm_head"};
  options.use_dora = true;
  options.bias = TrainedBias::kAll;
  options.trainable_token_indices = {{"", {5, 3}}};
  const Json config = written(options, tiny_llama(Json{{"attention_bias", true}}));
  EXPECT_EQ(config["use_dora"], true);
  EXPECT_EQ(config["bias"], "all");
  EXPECT_EQ(config["modules_to_save"], Json({"lm_head"}));
  EXPECT_EQ(config["trainable_token_indices"], Json({5, 3}));
  EXPECT_FALSE(config.contains("lora_bias") || config.contains("ensure_weight_tying"));
  LoraOptions other = default_lora({"q_proj"});
  other.trainable_token_indices = {{"lm_head", {9}}, {"embed_tokens", {2}}};
  other.lora_bias = other.ensure_weight_tying = true;
  const Json second = written(other, tiny_llama());
  EXPECT_EQ(second["trainable_token_indices"], Json({{"embed_tokens", {2}}, {"lm_head", {9}}}));  // sorted by key
  EXPECT_EQ(second["lora_bias"], true);
  EXPECT_EQ(second["ensure_weight_tying"], true);
  EXPECT_EQ(second["bias"], "none");
  EXPECT_EQ(second["use_dora"], false);
}

}  // namespace
}  // namespace lora::peft
