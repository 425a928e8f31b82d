#include "peft/targets.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/nn/embedding.h"
#include "lora/nn/head_scorer.h"
#include "lora/nn/model.h"
#include "support/expect_error.h"
#include "support/map_source.h"
#include "support/tiny_llama.h"

namespace lora::peft {
namespace {

using Kind = ModuleChoice::Kind;
using Names = std::vector<std::string>;
using Indices = std::vector<size_t>;

/// Names that distinguish PEFT's rules: nested numbers, a list at the root, a bare name, and a name that only has the same ending.
const Names kNames{"model.layers.0.self_attn.q_proj",
                   "model.layers.0.self_attn.v_proj",
                   "model.layers.0.mlp.experts.1.w1",
                   "model.layers.1.self_attn.q_proj",
                   "model.layers.1.self_attn.v_proj",
                   "model.layers.1.mlp.experts.0.w1",
                   "h.1.attn.q_proj",
                   "q_proj",
                   "model.xq_proj",
                   "lm_head"};

class NamedHosts : public nn::Body {
 public:
  NamedHosts() : embedding_("model.embed_tokens", 3, 2, source_, at::kFloat) {
    for (size_t i = 0; i + 1 < kNames.size(); ++i) {
      linears_.push_back(std::make_unique<nn::Linear>(kNames[i], nn::LinearShape{2, 2}, source_, at::kFloat));
    }
  }
  nn::Tensor hidden(const nn::Pass&) const override { return {}; }
  std::vector<nn::Host*> hosts() override {
    std::vector<nn::Host*> all{&embedding_};
    for (const auto& linear : linears_) {
      all.push_back(linear.get());
    }
    return all;
  }
  std::vector<nn::Parameter> base_parameters() const override { return {}; }
  Names default_target_modules() const override { return defaults; }
  int64_t vocab_size() const override { return 3; }
  int64_t hidden_size() const override { return 2; }
  at::ScalarType dtype() const override { return at::kFloat; }
  at::Device device() const override { return at::kCPU; }
  nn::PassMemory pass_memory(nn::Recompute) const override { return {}; }
  bool keeps_keys(int64_t, int64_t) const override { return true; }

  Names defaults{"q_proj", "v_proj"};

 private:
  test::MapSource source_;
  nn::Embedding embedding_;
  std::vector<std::unique_ptr<nn::Linear>> linears_;
};

struct NamedModel : nn::Model {
  NamedModel() {
    auto own = std::make_unique<NamedHosts>();
    defaults = &own->defaults;
    body = std::move(own);
    test::MapSource source;
    tokens = std::make_unique<nn::HeadScorer>(std::make_unique<nn::Linear>(kNames.back(), nn::LinearShape{2, 3}, source, at::kFloat));
  }

  Names* defaults;
};

ModuleChoice list(Names names) {
  return {Kind::kList, std::move(names), ""};
}
ModuleChoice regex(std::string pattern) {
  return {Kind::kRegex, {}, std::move(pattern)};
}
const ModuleChoice kNothing;

struct Rule {
  ModuleChoice targets;
  ModuleChoice exclude;
  std::optional<std::vector<int64_t>> layers;
  Names layers_pattern;
  Indices expected;  ///< into kNames; empty: no module matches, which is an error here
};

/// The expected values are the results of check_target_module_exists in PEFT 0.21.2.
const std::vector<Rule> kRules{
    {list({"q_proj"}), kNothing, {}, {}, {0, 3, 6, 7}},
    {list({"self_attn.q_proj"}), kNothing, {}, {}, {0, 3}},
    {list({"1.self_attn.q_proj"}), kNothing, {}, {}, {3}},
    {list({"proj"}), kNothing, {}, {}, {}},
    {list({"model"}), kNothing, {}, {}, {}},
    {list({"q_proj", "w1"}), kNothing, {}, {}, {0, 2, 3, 5, 6, 7}},
    {list({"model.layers.0.self_attn.v_proj"}), kNothing, {}, {}, {1}},
    {list({"lm_head"}), kNothing, {}, {}, {9}},
    {regex(R"(.*\.q_proj)"), kNothing, {}, {}, {0, 3, 6}},
    {regex("q_proj"), kNothing, {}, {}, {7}},
    {regex(".*q_proj"), kNothing, {}, {}, {0, 3, 6, 7, 8}},
    {regex(R"(model\.layers\.\d+\.self_attn\.(q|v)_proj)"), kNothing, {}, {}, {0, 1, 3, 4}},
    {regex(R"(model\.layers\.0)"), kNothing, {}, {}, {}},
    {regex(".*(q_proj|w1)"), kNothing, {}, {}, {0, 2, 3, 5, 6, 7, 8}},
    {list({"q_proj"}), list({"layers.0.self_attn.q_proj"}), {}, {}, {3, 6, 7}},
    {list({"q_proj"}), list({"q_proj"}), {}, {}, {}},
    {list({"q_proj"}), regex(R"(model\..*)"), {}, {}, {6, 7}},
    {list({"q_proj"}), regex("layers"), {}, {}, {0, 3, 6, 7}},
    {regex(".*q_proj"), list({"model.xq_proj"}), {}, {}, {0, 3, 6, 7}},
    {list({"q_proj"}), kNothing, {{1}}, {}, {3, 7}},
    {list({"q_proj"}), kNothing, {{0}}, {}, {0, 7}},
    {list({"q_proj", "w1"}), kNothing, {{0}}, {}, {0, 2, 7}},
    {list({"q_proj", "w1"}), kNothing, {{1}}, {}, {3, 5, 7}},
    {list({"w1"}), kNothing, {{1}}, {"experts"}, {2}},
    {list({"w1"}), kNothing, {{0}}, {"experts"}, {5}},
    {list({"w1"}), kNothing, {{1}}, {"layers"}, {5}},
    {list({"w1"}), kNothing, {{1}}, {"layers", "experts"}, {5}},
    {list({"q_proj"}), kNothing, {{1}}, {"h"}, {6, 7}},
    {list({"q_proj"}), kNothing, {{1}}, {"layers", "h"}, {3, 6, 7}},
    {list({"q_proj"}), kNothing, {{1}}, {"h", "layers"}, {3, 6, 7}},
    {list({"q_proj"}), kNothing, {{0, 1}}, {"layers"}, {0, 3, 7}},
    {list({"q_proj"}), kNothing, {{1}}, {"lay.*"}, {3, 7}},
    {list({"q_proj"}), kNothing, std::vector<int64_t>{}, {}, {0, 3, 6, 7}},
    {list({"model.layers.0.self_attn.q_proj", "v_proj"}), kNothing, {{1}}, {}, {0, 4}},
    {list({"lm_head", "q_proj"}), kNothing, {{1}}, {}, {3, 7, 9}},
    {list({"q_proj"}), list({"1.self_attn.q_proj"}), {{1}}, {}, {7}},
};

LoraOptions options_of_rule(const Rule& rule) {
  LoraOptions options;
  options.target_modules = rule.targets;
  options.exclude_modules = rule.exclude;
  options.layers_to_transform = rule.layers;
  options.layers_pattern = rule.layers_pattern;
  return options;
}

Names names_of(const std::vector<nn::Linear*>& hosts) {
  Names names;
  for (const nn::Linear* host : hosts) {
    names.push_back(host->name());
  }
  return names;
}

TEST(ChooseHosts, FollowsPeftsRules) {
  NamedModel model;
  for (size_t i = 0; i < kRules.size(); ++i) {
    const LoraOptions options = options_of_rule(kRules[i]);
    if (kRules[i].expected.empty()) {
      test::expect_error(ErrorKind::kConfig, {"adapter.target_modules", "no module"}, [&] { choose_hosts(options, model); });
      continue;
    }
    Names expected;
    for (const size_t index : kRules[i].expected) {
      expected.push_back(kNames[index]);
    }
    EXPECT_EQ(names_of(choose_hosts(options, model).hosts), expected) << "rule " << i;
  }
}

TEST(ChooseHosts, ReportsWhatEachEntryMatched) {
  NamedModel model;
  LoraOptions options;
  options.target_modules = list({"w1", "self_attn.q_proj", "q_proj"});
  const ChosenHosts chosen = choose_hosts(options, model);
  ASSERT_EQ(chosen.matches.size(), 3U);
  EXPECT_EQ(chosen.matches[0].entry, "w1");
  EXPECT_EQ(chosen.matches[0].hosts, (Names{kNames[2], kNames[5]}));
  EXPECT_EQ(chosen.matches[1].hosts, (Names{kNames[0], kNames[3]}));
  EXPECT_EQ(chosen.matches[2].hosts.size(), 4U);  // includes those of the previous entry
  EXPECT_EQ(chosen.hosts.size(), 6U);             // but each host once, in the model's order
}

TEST(ChooseHosts, WarnsOnlyWhereItIsAsked) {
  NamedModel model;
  LoraOptions options;
  options.target_modules = list({"q_proj"});
  options.exclude_modules = list({"nowhere"});
  for (const bool warns : {false, true}) {
    testing::internal::CaptureStderr();
    choose_hosts(options, model, warns);
    EXPECT_EQ(testing::internal::GetCapturedStderr().find("excludes nothing") != std::string::npos, warns);
  }
}

TEST(ChooseHosts, AnEntryWithoutAModuleListsTheModules) {
  NamedModel model;
  LoraOptions options;
  options.target_modules = list({"q_proj", "k_proj"});
  test::expect_error(ErrorKind::kConfig, {"adapter.target_modules", "'k_proj'", "q_proj (4)", "v_proj (2)", "w1 (2)", "lm_head (1)"},
                     [&] { choose_hosts(options, model); });
  options.target_modules = list({"v_proj"});
  options.layers_to_transform = {5};
  test::expect_error(ErrorKind::kConfig, {"adapter.target_modules", "'v_proj'", "layers_to_transform"},
                     [&] { choose_hosts(options, model); });
}

TEST(ChooseHosts, AnEntryWithoutAModuleGetsASuggestion) {
  NamedModel model;
  LoraOptions options;
  const auto expect = [&](const ModuleChoice& choice, const std::string& part) {
    options.target_modules = choice;
    test::expect_error(ErrorKind::kConfig, {part}, [&] { choose_hosts(options, model); });
  };
  expect({Kind::kRegex, {}, "v_proj"}, R"(is a regular expression for whole names. Use a list: ["v_proj"])");
  expect(list({"q_prj"}), "Did you mean 'q_proj'?");
  // Names that other families use.
  expect(list({"query"}), "Did you mean 'q_proj'?");
  expect(list({"c_attn"}), "Did you mean 'q_proj'?");
  expect(list({"value"}), "Did you mean 'v_proj'?");
  expect(list({"gate_proj"}), "Did you mean 'w1'?");
  expect(list({"wte"}), "Did you mean 'embed_tokens'?");
}

TEST(ChooseHosts, EmbeddingsAreTargetsAndNormsAreNot) {
  const models::BaseModel base = test::tiny_llama();
  LoraOptions options;
  options.target_modules = list({"embed_tokens", "q_proj"});
  const ChosenHosts chosen = choose_hosts(options, *base.model);
  ASSERT_EQ(chosen.embeddings.size(), 1U);
  EXPECT_EQ(chosen.embeddings[0]->name(), "model.embed_tokens");
  EXPECT_EQ(chosen.hosts.size(), 3U);
  EXPECT_EQ(chosen.matches[0].hosts, (Names{"model.embed_tokens"}));
  for (const ModuleChoice& choice : {list({"norm"}), list({"q_proj", "input_layernorm"}), regex(".*")}) {
    options.target_modules = choice;
    test::expect_error(ErrorKind::kConfig, {"adapter.target_modules", "norm", "RMSNorm", "expected Linear or Embedding"},
                       [&] { choose_hosts(options, *base.model); });
  }
  // Options that PEFT refuses for embeddings, or that cannot be exported.
  options.target_modules = list({"embed_tokens"});
  options.lora_bias = true;
  test::expect_error(ErrorKind::kConfig, {"adapter.lora_bias", "model.embed_tokens"}, [&] { choose_hosts(options, *base.model); });
  options.lora_bias = false;
  options.init = LoraInit::kPissa;
  test::expect_error(ErrorKind::kConfig, {"adapter.init_lora_weights", "model.embed_tokens"}, [&] { choose_hosts(options, *base.model); });
}

TEST(ChooseHosts, ModulesToSaveAreNotTargets) {
  const models::BaseModel base = test::tiny_llama();
  LoraOptions options;
  options.target_modules = list({"q_proj", "down_proj", "lm_head"});
  options.modules_to_save = {"lm_head", "layers.1.mlp"};
  EXPECT_EQ(names_of(choose_hosts(options, *base.model).hosts),
            (Names{"model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj", "model.layers.1.self_attn.q_proj",
                   "model.layers.2.self_attn.q_proj", "model.layers.2.mlp.down_proj"}));
  options.target_modules = list({"lm_head"});
  test::expect_error(ErrorKind::kConfig, {"adapter.target_modules", "modules_to_save"}, [&] { choose_hosts(options, *base.model); });
}

TEST(ChooseHosts, ATiedHeadFollowsTheEmbeddingsOnRequest) {
  const models::BaseModel tied = test::tiny_llama(Json{{"tie_word_embeddings", true}}), untied = test::tiny_llama();
  LoraOptions options;
  options.ensure_weight_tying = true;
  for (const ModuleChoice& choice :
       {list({"q_proj", "lm_head"}), list({"q_proj", "model.embed_tokens"}), regex(".*(q_proj|embed_tokens)")}) {
    options.target_modules = choice;
    const ChosenHosts chosen = choose_hosts(options, *tied.model);
    EXPECT_EQ(chosen.tied_head, tied.model->head());
    EXPECT_EQ(chosen.embeddings.size(), 1U);
    EXPECT_EQ(chosen.hosts.size(), 3U);  // without the head
    EXPECT_EQ(chosen.matches.back().entry, "ensure_weight_tying");
  }
  EXPECT_EQ(choose_hosts(options, *untied.model).tied_head, nullptr);
  options.target_modules = list({"q_proj"});
  EXPECT_EQ(choose_hosts(options, *tied.model).tied_head, nullptr);
  options.ensure_weight_tying = false;
  options.target_modules = list({"q_proj", "lm_head"});
  EXPECT_EQ(choose_hosts(options, *tied.model).hosts.back(), tied.model->head());
}

TEST(ChooseHosts, FaultyPatternsAreConfigErrors) {
  NamedModel model;
  LoraOptions options;
  options.target_modules = regex("(q_proj");
  test::expect_error(ErrorKind::kConfig, {"adapter.target_modules", "(q_proj"}, [&] { choose_hosts(options, model); });
  options.target_modules = list({"q_proj"});
  options.exclude_modules = regex("[");
  test::expect_error(ErrorKind::kConfig, {"adapter.exclude_modules"}, [&] { choose_hosts(options, model); });
  options.exclude_modules = kNothing;
  options.layers_to_transform = {1};
  options.layers_pattern = {"(layers"};
  test::expect_error(ErrorKind::kConfig, {"adapter.layers_pattern"}, [&] { choose_hosts(options, model); });
}

TEST(ChooseHosts, ATargetMayBeExcludedIfOthersRemain) {
  // PEFT writes all-linear with exclude_modules like this: the list contains every name, including the excluded ones.
  NamedModel model;
  LoraOptions options;
  options.target_modules = list({kNames[0], kNames[1]});
  options.exclude_modules = list({kNames[1]});
  EXPECT_EQ(names_of(choose_hosts(options, model).hosts), (Names{kNames[0]}));
  options.exclude_modules = list({kNames[0], kNames[1]});
  test::expect_error(ErrorKind::kConfig, {"adapter.target_modules", "exclude_modules"}, [&] { choose_hosts(options, model); });
}

TEST(ChooseHosts, DefaultsAreThoseOfTheFamilyAndAreWrittenOut) {
  NamedModel model;
  const ChosenHosts chosen = choose_hosts(LoraOptions(), model);
  EXPECT_EQ(names_of(chosen.hosts), (Names{kNames[0], kNames[1], kNames[3], kNames[4], kNames[6], kNames[7]}));
  EXPECT_EQ(chosen.targets.names, (Names{"q_proj", "v_proj"}));
  model.defaults->clear();
  test::expect_error(ErrorKind::kConfig, {"adapter.target_modules", "no default", "q_proj (4)"},
                     [&] { choose_hosts(LoraOptions(), model); });
}

TEST(ChooseHosts, AllLinearIsEveryLinearExceptTheHead) {
  const models::BaseModel base = test::tiny_llama();
  LoraOptions options;
  options.target_modules.kind = Kind::kAllLinear;
  const ChosenHosts chosen = choose_hosts(options, *base.model);
  EXPECT_EQ(chosen.hosts.size(), 21U);
  const Names parts{"down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"};
  EXPECT_EQ(chosen.targets.names, parts);
  for (const nn::Linear* host : chosen.hosts) {
    EXPECT_NE(host->name(), "lm_head");
  }
  options.exclude_modules = list({"gate_proj", "layers.0.mlp.up_proj"});
  const ChosenHosts fewer = choose_hosts(options, *base.model);
  EXPECT_EQ(fewer.hosts.size(), 21U - 3 - 1);
  EXPECT_EQ(fewer.targets.names, (Names{"down_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"}));
  // The targets that are written choose the same hosts again.
  LoraOptions again = options;
  again.target_modules = fewer.targets;
  EXPECT_EQ(names_of(choose_hosts(again, *base.model).hosts), names_of(fewer.hosts));
  // If the last part of the head's name occurs in other modules too, whole names are used.
  NamedModel model;
  options.exclude_modules = kNothing;
  EXPECT_EQ(choose_hosts(options, model).hosts.size(), 9U);
}

TEST(PatternValue, IsTheFirstKeyThatMatches) {
  // The expected values are the results of get_pattern_key in PEFT 0.21.2, as indexes of keys; -1: none.
  const std::vector<std::pair<Names, std::vector<int64_t>>> table{
      {{"q_proj", "layers.1.self_attn.q_proj"}, {0, -1, -1, 0, -1, -1, 0, 0, -1, -1}},
      {{"layers.1.self_attn.q_proj", "q_proj"}, {1, -1, -1, 0, -1, -1, 1, 1, -1, -1}},
      {{"v"}, {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1}},
      {{"w1|v_proj"}, {-1, 0, 0, -1, 0, 0, -1, -1, -1, -1}},
      {{"xq_proj"}, {-1, -1, -1, -1, -1, -1, -1, -1, 0, -1}},
      {{"model.layers.1"}, {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1}},
      {{"model.layers.1.*"}, {-1, -1, -1, 0, 0, 0, -1, -1, -1, -1}},
      {{".*"}, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
      {{"^q_proj"}, {-1, -1, -1, -1, -1, -1, -1, 0, -1, -1}},
      {{"layers.1.*", "q_proj"}, {1, -1, -1, 0, 0, 0, 1, 1, -1, -1}},
  };
  for (const auto& [keys, expected] : table) {
    std::vector<std::pair<std::string, int64_t>> pattern;
    for (const std::string& key : keys) {
      pattern.emplace_back(key, static_cast<int64_t>(pattern.size()));
    }
    for (size_t i = 0; i < kNames.size(); ++i) {
      EXPECT_EQ(pattern_value<int64_t>(pattern, kNames[i], -1, "adapter.rank_pattern"), expected[i]) << keys[0] << " on " << kNames[i];
    }
  }
  test::expect_error(ErrorKind::kConfig, {"adapter.alpha_pattern", "(q"}, [] {
    pattern_value<double>({{"(q", 1.0}}, "q_proj", 0.0, "adapter.alpha_pattern");
  });
}

}  // namespace
}  // namespace lora::peft
