// Combining compared with PEFT's add_weighted_adapter (tests/data/combine).
#include "lora/peft/combine.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <set>

#include "adapters.h"
#include "support/expect_error.h"
#include "support/golden_adapter.h"
#include "support/paths.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"

namespace lora::peft {
namespace {

using test::expect_equal;
using test::expect_error;
using test::expect_near;
using test::golden_adapter;
using test::pair_of;

const std::filesystem::path kCombineCases = std::filesystem::path(lora::test::data_folder()) / "combine";

WeightedAdapter weighted(const std::string& name, double weight = 1) {
  Adapter adapter = golden_adapter("combine/" + name);
  adapter.options.target_modules = {ModuleChoice::Kind::kList, adapter.config["target_modules"], ""};
  return {std::move(adapter), weight, name};
}

CombineOptions combine_options(const Json& arguments, uint64_t seed) {
  CombineOptions options;
  options.method = arguments["combination_type"];
  options.seed = seed;
  if (arguments.contains("svd_rank")) {
    options.svd_rank = arguments["svd_rank"].get<int64_t>();
  }
  if (arguments.contains("density")) {
    options.density = arguments["density"].get<double>();
  }
  if (arguments.contains("majority_sign_method")) {
    options.majority_sign_method = kMajoritySigns.find(arguments["majority_sign_method"].get<std::string>());
  }
  return options;
}

/// The part of a tensor that `shape` covers; the rest must be zero (PEFT pads cat's modules to one rank).
Tensor without_filling(Tensor tensor, at::IntArrayRef shape) {
  for (int64_t d = 0; d < tensor.dim(); ++d) {
    EXPECT_EQ(tensor.slice(d, shape[static_cast<size_t>(d)]).count_nonzero().item<int64_t>(), 0);
    tensor = tensor.slice(d, 0, shape[static_cast<size_t>(d)]);
  }
  return tensor;
}

TEST(Combine, EqualsPeftsAddWeightedAdapter) {
  const Json cases = read_json(kCombineCases / "cases.json", ErrorKind::kData);
  const io::SafetensorsFile expected(kCombineCases / "expected.safetensors");
  std::set<std::string> methods;
  size_t compared = 0;
  for (const auto& [name, arguments] : cases["cases"].items()) {
    std::vector<WeightedAdapter> adapters;
    for (size_t i = 0; i < arguments["adapters"].size(); ++i) {
      adapters.push_back(weighted(arguments["adapters"][i], arguments["weights"][i]));
    }
    const Adapter combined = combine(adapters, combine_options(arguments, cases["seed"]));
    methods.insert(arguments["combination_type"].get<std::string>());
    for (const LowRankUpdate& update : combined.low_rank()) {
      const std::string key = name + "/" + update.module;
      EXPECT_EQ(update.scale, 1) << key;
      EXPECT_EQ(update.alpha, static_cast<double>(update.rank())) << key;
      if (expected.contains(key + ".product")) {
        expect_near(delta(update), expected.tensor(key + ".product"), 3e-6, key);
        ++compared;
      } else {
        expect_equal(update.A_RI, without_filling(expected.tensor(key + ".A"), update.A_RI.sizes()), key);
        expect_equal(update.B_OR, without_filling(expected.tensor(key + ".B"), update.B_OR.sizes()), key);
        compared += 2;
      }
    }
  }
  EXPECT_EQ(compared, expected.names().size());
  EXPECT_EQ(methods.size(), combine_methods().size());
}

TEST(Combine, WritesAnAdapterWithACompleteConfig) {
  CombineOptions options;
  options.method = "cat";
  Adapter combined = combine({weighted("a", 2), weighted("b"), weighted("c")}, options);
  const test::TemporaryFolder folder;
  write_adapter(folder.path(), combined, "base");
  const Json config = read_json(folder / "adapter_config.json", ErrorKind::kModel);
  EXPECT_EQ(config["target_modules"], Json::parse(R"(["down_proj", "o_proj", "q_proj", "v_proj"])"));
  EXPECT_EQ(config["use_rslora"], false);
  EXPECT_EQ(config["rank_pattern"]["model.layers.0.self_attn.v_proj"], 14);
  EXPECT_EQ(config["rank_pattern"], config["alpha_pattern"]);
  LoraOptions as_written;
  as_written.r = config["r"];
  as_written.lora_alpha = config["lora_alpha"];
  as_written.rank_pattern = {{"down_proj", 4}, {"v_proj", 14}, {"o_proj", 8}, {"q_proj", 6}};
  as_written.alpha_pattern = {{"down_proj", 4}, {"v_proj", 14}, {"o_proj", 8}, {"q_proj", 6}};
  const Adapter read = read_adapter(folder.path(), as_written);
  ASSERT_EQ(read.low_rank().size(), combined.low_rank().size());
  for (size_t i = 0; i < read.low_rank().size(); ++i) {
    expect_equal(delta(pair_of(read, i)), delta(pair_of(combined, i)), pair_of(read, i).module);
  }
  // If an adapter chose its modules by more than their names, the result lists the modules explicitly.
  WeightedAdapter first_layer = weighted("a");
  first_layer.adapter.options.target_modules = {ModuleChoice::Kind::kList, {"q_proj"}, ""};
  first_layer.adapter.options.layers_to_transform = {{0}};
  combined = combine({first_layer, weighted("c")}, options);
  EXPECT_EQ(combined.options.target_modules.kind, ModuleChoice::Kind::kNone);
  EXPECT_FALSE(combined.options.layers_to_transform.has_value());
}

TEST(Combine, RandomPruningKeepsTheDensityAndTheExpectedSum) {
  WeightedAdapter large = weighted("a");
  LowRankUpdate& update = pair_of(large.adapter);
  large.adapter.updates.resize(1);
  update.A_RI = at::ones({4, 5000});
  update.scale = 1;
  WeightedAdapter none = large;
  none.weight = 0;
  CombineOptions options;
  options.method = "dare_linear";
  options.density = 0.3;
  const Tensor once = pair_of(combine({large, none}, options)).A_RI;
  expect_equal(pair_of(combine({large, none}, options)).A_RI, once);  // the same seed
  EXPECT_NEAR(once.count_nonzero().item<double>() / 20000, 0.3, 0.015);
  EXPECT_NEAR(once.mean().item<double>(), 1.0, 0.05);
  options.seed = 43;
  EXPECT_FALSE(pair_of(combine({large, none}, options)).A_RI.equal(once));
}

TEST(Combine, BadOptions) {
  const auto refused = [](const std::vector<std::string>& parts, const std::function<void(CombineOptions&)>& change, size_t adapters = 2) {
    CombineOptions options;
    change(options);
    const std::vector<WeightedAdapter> all(adapters, weighted("a"));
    expect_error(ErrorKind::kConfig, parts, [&] { combine(all, options); });
  };
  refused({"--combine", "'tise'", "did you mean 'ties'"}, [](auto& o) { o.method = "tise"; });
  refused({"--density", "is missing", "'ties'"}, [](auto& o) { o.method = "ties"; });
  refused({"--density", "found 1.5"}, [](auto& o) { o.method = "ties", o.density = 1.5; });
  refused({"--density", "found 0.0"}, [](auto& o) { o.method = "dare_linear", o.density = 0; });
  refused({"--density", "is not used by 'linear'"}, [](auto& o) { o.density = 0.5; });
  refused({"--svd-rank", "is not used by 'cat'"}, [](auto& o) { o.method = "cat", o.svd_rank = 3; });
  refused({"--svd-rank", "found 0"}, [](auto& o) { o.method = "svd", o.svd_rank = 0; });
  refused({"--majority-sign-method", "is not used by 'svd'"},
          [](auto& o) { o.method = "svd", o.majority_sign_method = MajoritySign::kTotal; });
  refused(
      {"--combine", "one --adapter for 'cat'"}, [](auto& o) { o.method = "cat"; }, 1);
}

TEST(Combine, ListsWhatCannotBeCombined) {
  CombineOptions linear;
  expect_error(ErrorKind::kModel, {"modules of different ranks", "layers.0.self_attn.q_proj", "(2 more)"}, [&] {
    combine({weighted("a"), weighted("c")}, linear);
  });
  WeightedAdapter dora = weighted("a");
  pair_of(dora.adapter).magnitude_O = at::ones({pair_of(dora.adapter).B_OR.size(0)});
  pair_of(dora.adapter, 1).bias_O = at::ones({pair_of(dora.adapter, 1).B_OR.size(0)});
  dora.adapter.updates.emplace_back(HeldTensor{{"lm_head.weight", at::ones({2, 2})}});
  expect_error(ErrorKind::kModel, {"modules with DoRA or lora_bias", "whole tensors", "lm_head.weight"}, [&] {
    combine({weighted("b"), dora}, linear);
  });
  WeightedAdapter wider = weighted("b");
  pair_of(wider.adapter).A_RI = at::ones({4, 99});
  CombineOptions cat;
  cat.method = "cat";
  expect_error(ErrorKind::kModel, {"modules of different shapes", pair_of(wider.adapter).module}, [&] {
    combine({weighted("b"), wider}, cat);
  });
}

}  // namespace
}  // namespace lora::peft
