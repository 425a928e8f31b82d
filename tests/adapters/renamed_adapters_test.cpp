// Adapters whose modules have other names than the base's: of a language model within a multimodal one, of the body only, or
// renamed by lora-convert. Whatever the config says about modules means the same modules under the base's names.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "app/inspect_adapter.h"
#include "changed_adapter.h"
#include "support/temporary_folder.h"
#include "trained_adapter.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

const std::string kOurs = "base_model.model.model.";
const std::string kWithin = "base_model.model.model.language_model.";

/// The adapter with `prefix` instead of kOurs at the beginning of its keys, and with these keys in its config.
fs::path renamed(ChangedAdapter& adapter, const std::string& prefix, const Json& config = Json::object()) {
  for (io::NamedTensor& named : adapter.tensors) {
    if (named.name.starts_with(kOurs)) {
      named.name = prefix + named.name.substr(kOurs.size());
    }
  }
  adapter.config.update(config);
  return adapter.write();
}

/// Every program computes this loss with the adapter, and with what lora-convert makes of it.
void expect_loss(const fs::path& base, const fs::path& folder, double expected) {
  const TemporaryFolder scratch;
  EXPECT_NEAR(loss_with(base, folder), expected, kLossTolerance) << "lora-eval";
  merge_into(base, folder, scratch / "merged");
  EXPECT_NEAR(loss_of(*load_small(scratch / "merged").model), expected, kLossTolerance) << "lora-merge";
  convert_to("peft", folder, scratch / "without");
  EXPECT_NEAR(loss_with(base, scratch / "without"), expected, kLossTolerance) << "lora-convert";
  convert_to("peft", folder, scratch / "with", base);
  EXPECT_NEAR(loss_with(base, scratch / "with"), expected, kLossTolerance) << "lora-convert --model";
  EXPECT_THAT(read_file(scratch / "with/adapter_config.json", ErrorKind::kModel), Not(HasSubstr("language_model")));
}

TEST(RenamedAdapters, GiveTheSameLossInEveryProgram) {
  const Json cases = read_json(kStored / "cases.json", ErrorKind::kData);
  for (const std::string name : {"plain", "resized_tokens", "bias_all", "embeddings", "dora", "saved_untying", "missing_layer"}) {
    SCOPED_TRACE(name);
    ChangedAdapter adapter(kStored / name);
    expect_loss(kStored / cases[name]["base"].get<std::string>(), renamed(adapter, kWithin), cases[name]["loss"].get<double>());
  }
}

struct Case {
  const char* section;  ///< what the adapter is trained with, next to r and lora_alpha
  const char* own;      ///< what its config says instead, by the names of the model around the base
};

const std::vector<Case> kCases{
    {R"("target_modules": ["layers.0.self_attn.q_proj", "layers.1.mlp.up_proj"])",
     R"({"target_modules": ["model.language_model.layers.0.self_attn.q_proj", "language_model.layers.1.mlp.up_proj"]})"},
    {R"("target_modules": ".*layers\\.1\\.mlp\\.(up|down)_proj")",
     R"({"target_modules": "model\\.language_model\\.layers\\.1\\.mlp\\.(up|down)_proj"})"},
    {R"("target_modules": ["q_proj", "up_proj"], "rank_pattern": {"layers.1.mlp.up_proj": 3}, "alpha_pattern": {"layers.1.*q_proj": 5})",
     R"({"rank_pattern": {"model.language_model.layers.1.mlp.up_proj": 3}, "alpha_pattern": {"language_model.layers.1.*q_proj": 5}})"},
    {R"("target_modules": ["q_proj", "k_proj"], "exclude_modules": ["layers.0.self_attn.k_proj"])",
     R"({"exclude_modules": ["language_model.layers.0.self_attn.k_proj"]})"},
    {R"("target_modules": ["q_proj", "k_proj"], "exclude_modules": ".*layers\\.0\\.self_attn\\.k_proj")",
     R"({"exclude_modules": "model\\.language_model\\.layers\\.0.*\\.k_proj"})"},
    {R"("target_modules": ["q_proj", "k_proj"], "layers_to_transform": [1], "layers_pattern": "layers")",
     R"({"layers_pattern": "language_model.layers"})"},
    {R"("target_modules": ["q_proj"], "modules_to_save": ["model.norm", "embed_tokens"])",
     R"({"modules_to_save": ["model.language_model.norm", "language_model.embed_tokens"]})"},
    {R"("target_modules": ["q_proj"], "modules_to_save": ["layers.1.mlp"])", R"({"modules_to_save": ["language_model.layers.1.mlp"]})"},
    {R"("target_modules": ["q_proj"], "trainable_token_indices": {"embed_tokens": [3, 1], "lm_head": [2]})",
     R"({"trainable_token_indices": {"language_model.embed_tokens": [3, 1], "lm_head": [2]}})"}};

TEST(RenamedAdapters, KeepWhatTheConfigSaysAboutModules) {
  const fs::path base = kStored / "untied";
  for (const Case& one : kCases) {
    SCOPED_TRACE(one.own);
    const TemporaryFolder scratch;
    Json section = Json::parse("{" + std::string(one.section) + "}");
    section.update({{"r", 2}, {"lora_alpha", 3}});
    const double expected = train_and_save(section, base, scratch / "trained");
    ChangedAdapter adapter(scratch / "trained");
    const fs::path folder = renamed(adapter, kWithin, Json::parse(one.own));
    try {
      expect_loss(base, folder, expected);
      EXPECT_NEAR(continued_loss(base, folder, scratch / "continued"), expected, kLossTolerance) << "init_from";
      EXPECT_NEAR(loss_with(base, scratch / "continued"), expected, kLossTolerance) << "what a run saves that continued from it";
      EXPECT_THAT(read_file(scratch / "continued/adapter_config.json", ErrorKind::kModel), Not(HasSubstr("language_model")));
      app::ConvertRequest request;
      request.adapter = folder;
      request.renames = {R"(^model\.language_model\.=model.)"};
      request.output = scratch / "by_rule";
      app::convert_command(request);
      EXPECT_NEAR(loss_with(base, scratch / "by_rule"), expected, kLossTolerance) << "lora-convert --rename";
      EXPECT_THAT(read_file(scratch / "by_rule/adapter_config.json", ErrorKind::kModel), Not(HasSubstr("language_model")));
    } catch (const Error& error) {
      ADD_FAILURE() << error.what();
    }
  }
}

/// PEFT's "layers.0" of a bare body is a whole name, to which layers_to_transform does not apply; it still does not as "model.layers.0".
TEST(RenamedAdapters, OfTheBodyOnlyKeepWholeNames) {
  const fs::path base = kStored / "untied";
  const TemporaryFolder scratch;
  Json section = Json::parse(R"({"r": 2, "lora_alpha": 3, "target_modules": ["model.layers.0.self_attn.q_proj", "k_proj"],
                                 "layers_to_transform": [1], "layers_pattern": "layers"})");
  const double expected = train_and_save(section, base, scratch / "trained");
  ChangedAdapter adapter(scratch / "trained");
  expect_loss(base, renamed(adapter, "base_model.model.", {{"target_modules", {"layers.0.self_attn.q_proj", "k_proj"}}}), expected);
}

}  // namespace
}  // namespace lora::test
