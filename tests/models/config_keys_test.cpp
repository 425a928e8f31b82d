// The effect of each key of config.json, compared with transformers (scripts/golden/config_keys.py), and that every key is known.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "lora/models/base_model.h"
#include "lora/models/family_files.h"
#include "lora/nn/document_scorer.h"
#include "lora/nn/linear.h"
#include "support/batches.h"
#include "support/expect_error.h"
#include "support/formula_weights.h"
#include "support/temporary_folder.h"

namespace lora::models {
namespace {

/// The script's DOCUMENT.
const test::Document kDocument{{test::kFormulaDocument.begin(), test::kFormulaDocument.end()}, {}, 0, 0};

/// Values that transformers supports and this program does not: each is refused by name.
const std::set<std::string> kRefused{
    "alibi", "use_bidirectional_attention", "is_decoder", "add_cross_attention", "router_jitter_noise", "output_router_logits"};

/// @param file_name of a tensor; its values are those of its own name.
BaseModel load_of_keys(const Json& config, const Json& tensors, std::string (*file_name)(const std::string& name) = nullptr) {
  const test::TemporaryFolder folder;
  test::write_formula_model(folder.path(), config, tensors, file_name);
  ModelOptions options;
  options.path = folder.path();
  options.device = "cpu";
  options.dtype = ComputeDtype::kFloat32;
  const bool is_encoder = tensors.contains("classifier.weight") || tensors.contains("classifier.out_proj.weight");
  return load_base_model(options, 0, is_encoder ? std::optional(SequenceHeadRequest{}) : std::nullopt);
}

/// The mean loss of the document, or an encoder's first score.
double outcome(const BaseModel& base) {
  const at::NoGradGuard no_grad;
  const nn::Batch batch = test::batch_of({kDocument});
  const nn::Pass pass = nn::evaluation_pass(batch);
  if (base.model->documents != nullptr) {
    return base.model->documents->scores(*base.model->body, pass)[0][0].item<double>();
  }
  const at::Tensor logits_TV = base.model->tokens->logits(base.model->body->hidden(pass), pass).to(at::kDouble);
  const at::Tensor next_T = batch.tokens().ids_T.slice(0, 1).to(at::kLong);
  return at::cross_entropy_loss(logits_TV.slice(0, 0, -1), next_T).item<double>();
}

class ConfigKeys : public testing::TestWithParam<std::string> {};

TEST_P(ConfigKeys, ComputeWhatTransformersComputes) {
  const Json expected = test::formula_case(GetParam());
  const BaseModel unchanged = load_of_keys(expected["config"], expected["tensors"]);
  EXPECT_NEAR(outcome(unchanged), expected["loss"].get<double>(), 2e-5);
  EXPECT_EQ(Json(unchanged.model->body->default_target_modules()), expected["default_targets"]);
  for (const Json& change : expected["changes"]) {
    Json config = expected["config"];
    config.update(change["set"]);
    const std::string shown = change["set"].dump();
    try {
      const BaseModel base = load_of_keys(config, change.contains("tensors") ? change["tensors"] : expected["tensors"]);
      if (!change["loss"].is_null()) {
        EXPECT_NEAR(outcome(base), change["loss"].get<double>(), 2e-5) << shown;
      }
    } catch (const Error& error) {
      const std::string& key = change["set"].begin().key();
      if (!change["loss"].is_null()) {  // if it is, transformers refuses the value too
        EXPECT_EQ(kRefused.count(key), 1U) << shown << ": " << error.what();
        EXPECT_THAT(error.what(), testing::HasSubstr(key));
      }
    }
  }
}

TEST_P(ConfigKeys, AreAllKnown) {
  const Json expected = test::formula_case(GetParam());
  Json config = expected["keys"];
  config.update(expected["config"]);
  EXPECT_EQ(load_of_keys(config, expected["tensors"]).unread_keys, std::vector<std::string>{});
  config["a_key_of_tomorrow"] = 3;
  EXPECT_EQ(load_of_keys(config, expected["tensors"]).unread_keys, std::vector<std::string>{"a_key_of_tomorrow"});
  if (config.contains("rope_parameters") && config["rope_parameters"].value("rope_type", "") == "default") {
    config["rope_parameters"]["factor"] = 2.0;  // which the default type does not have
    EXPECT_THAT(load_of_keys(config, expected["tensors"]).unread_keys, testing::Contains("rope_parameters.factor"));
  }
}

/// num_labels next to an id2label of another length: the stored head decides, and the key is known.
TEST_P(ConfigKeys, NumLabelsDoesNotChangeAStoredHead) {
  const Json expected = test::formula_case(GetParam());
  Json config = expected["config"];
  if (!config.contains("id2label")) {
    GTEST_SKIP() << "the case has no classifier";
  }
  for (const int64_t num_labels : {1, 7}) {
    config["num_labels"] = num_labels;
    const BaseModel base = load_of_keys(config, expected["tensors"]);
    EXPECT_NEAR(outcome(base), expected["loss"].get<double>(), 2e-5) << num_labels;
    EXPECT_EQ(base.unread_keys, std::vector<std::string>{});
  }
}

/// tie_word_embeddings with every combination of stored weights, and a file of only the body.
TEST_P(ConfigKeys, TieAsTransformersDoes) {
  const Json expected = test::formula_case(GetParam());
  if (!expected.contains("ties")) {
    GTEST_SKIP() << "an encoder has no head over the vocabulary";
  }
  const auto close = [&](const BaseModel& base, const char* key) {
    EXPECT_NEAR(outcome(base), expected["ties"][key].get<double>(), 2e-5) << key;
  };
  Json config = expected["config"], both = expected["tensors"], body = both, head_alone = both;
  config["tie_word_embeddings"] = true;
  const std::string embedding = std::string(find_family_files(GetParam())->embedding) + ".weight";
  both["lm_head.weight"] = head_alone["lm_head.weight"] = both[embedding];
  body.erase("lm_head.weight");
  head_alone.erase(embedding);
  const auto bare = [](const std::string& name) { return name.substr(name.find('.') + 1); };
  close(load_of_keys(config, body), "tied");
  close(load_of_keys(config, body, bare), "tied");
  close(load_of_keys(config, body, [](const std::string& name) { return "module." + name; }), "tied");
  const auto in_the_middle = [](const std::string& name) {
    return std::string(name).insert(name.find('.') + 1, "_fsdp_wrapped_module._checkpoint_wrapped_module.");
  };
  close(load_of_keys(config, body, in_the_middle), "tied");
  close(load_of_keys(config, head_alone), "head_alone");
  const BaseModel own_head = load_of_keys(config, both);
  close(own_head, "other_head");
  EXPECT_FALSE(own_head.model->head()->tied());
  EXPECT_EQ(own_head.config["tie_word_embeddings"], false);
  EXPECT_TRUE(load_of_keys(config, body).model->head()->tied());
}

INSTANTIATE_TEST_SUITE_P(Families, ConfigKeys, testing::ValuesIn(known_families()), [](const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(ConfigKeysOfOneLayer, AreRefused) {
  const Json expected = test::formula_case("llama");
  Json config = expected["config"];
  config["per_layer_config"] = {{"0", {{"intermediate_size", 7}}}};
  test::expect_error(ErrorKind::kModel, {"per_layer_config"}, [&] { load_of_keys(config, expected["tensors"]); });
}

}  // namespace
}  // namespace lora::models
