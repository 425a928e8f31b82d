// Merging without a model: every kind of adapter compared with PEFT's merge_and_unload (tests/data/merge), as a whole and by blocks of
// rows; merging and unmerging.
#include "lora/peft/merge.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/io/checkpoint.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/golden_adapter.h"
#include "support/paths.h"
#include "support/tensors.h"

namespace lora::peft {
namespace {

using test::expect_equal;
using test::expect_error;
using test::expect_near;
using test::golden_adapter;
using test::kData;
using test::normal;
namespace fs = std::filesystem;

/// Mixtral's files still use the name of transformers 4 for the block of experts.
std::string model_name(std::string name) {
  const size_t place = name.find("block_sparse_moe");
  return place == std::string::npos ? name : name.replace(place, 16, "mlp");
}

BaseLayout layout_of(const io::SafetensorsCheckpoint& base, bool tied) {
  BaseLayout layout;
  layout.tied = tied;
  for (const std::string& name : base.names()) {
    layout.tensors.push_back({name, base.tensor(name).sizes().vec(), true, model_name(name)});
  }
  return layout;
}

struct GoldenMerge {
  explicit GoldenMerge(const std::string& name)
      : folder(kData / "merge" / name),
        json(read_json(folder / "case.json", ErrorKind::kData)),
        base(kData / json["base"].get<std::string>()),
        expected(folder / "expected.safetensors") {
    for (size_t i = 0; i < json["adapters"].size(); ++i) {
      const std::string adapter = json["adapters"][i];
      adapters.push_back({golden_adapter(adapter), json["weights"].empty() ? 1.0 : json["weights"][i].get<double>(), adapter});
    }
    const Json config = read_json(kData / json["base"].get<std::string>() / "config.json", ErrorKind::kData);
    layout = layout_of(base, config.value("tie_word_embeddings", false));
  }

  fs::path folder;
  Json json;
  io::SafetensorsCheckpoint base;
  io::SafetensorsFile expected;
  BaseLayout layout;
  std::vector<WeightedAdapter> adapters;
};

Tensor in_pieces(const MergedTensor& tensor, const Tensor& base, int64_t rows) {
  std::vector<Tensor> pieces;
  for (int64_t begin = 0; begin < base.size(0); begin += rows) {
    pieces.push_back(merged_rows(tensor, base, begin, std::min(base.size(0), begin + rows)));
  }
  return at::cat(pieces);
}

/// Expects that each tensor of the plan equals PEFT's, as a whole and by blocks of rows, or is that of the base.
void expect_merged(const std::string& name, const GoldenMerge& golden, const MergePlan& plan) {
  size_t changed = 0;
  for (const MergedTensor& tensor : plan.tensors) {
    const std::string what = name + " " + tensor.name;
    const Tensor base = golden.base.tensor(tensor.source);
    const Tensor found = merged_rows(tensor, base, 0, base.size(0)).to(base.scalar_type());
    if (!golden.expected.contains(model_name(tensor.name))) {
      expect_equal(found, base, what);
      continue;
    }
    ++changed;
    const Tensor expected = golden.expected.tensor(model_name(tensor.name));
    if (base.scalar_type() == at::kBFloat16) {
      expect_equal(found, expected, what);  // rounded once, as in PEFT
    } else {
      expect_near(found, expected, 1e-6, what);
    }
    if (!tensor.needs_all_rows()) {
      expect_near(in_pieces(tensor, base, 7), merged_rows(tensor, base, 0, base.size(0)), 1e-6, what);
    }
  }
  EXPECT_EQ(changed, golden.expected.names().size()) << name;
}

TEST(Merge, EqualsPeftsMergeAndUnload) {
  for (const char* name :
       {"plain", "rslora", "patterns", "bfloat16", "several", "dora", "bias", "embedding", "head", "tied_embedding", "whole", "tokens"}) {
    const GoldenMerge golden(name);
    const MergePlan plan = plan_merge(golden.layout, golden.adapters, false);
    EXPECT_EQ(plan.unties, golden.layout.tied && std::string(name) != "rslora") << name;
    EXPECT_EQ(plan.tensors.size(), golden.layout.tensors.size() + (plan.unties ? 1 : 0)) << name;
    expect_merged(name, golden, plan);
  }
}

TEST(Merge, EveryFamilyEqualsPeftsMergeAndUnload) {
  for (const std::string& name : test::kFamilyCases) {
    const GoldenMerge golden(name);
    const MergePlan plan = plan_merge(golden.layout, golden.adapters, false);
    EXPECT_FALSE(plan.unties) << name;
    expect_merged(name, golden, plan);
  }
}

TEST(Merge, SubtractingRestoresTheBase) {
  for (const char* name : {"plain", "patterns", "several", "bias", "embedding"}) {
    const GoldenMerge golden(name);
    const MergePlan there = plan_merge(golden.layout, golden.adapters, false);
    const MergePlan back = plan_merge(golden.layout, golden.adapters, true);
    ASSERT_EQ(there.tensors.size(), back.tensors.size());
    for (size_t i = 0; i < there.tensors.size(); ++i) {
      const Tensor base = golden.base.tensor(there.tensors[i].source);
      const Tensor merged = merged_rows(there.tensors[i], base, 0, base.size(0));
      expect_near(merged_rows(back.tensors[i], merged, 0, base.size(0)), base, 1e-6, name + there.tensors[i].name);
    }
  }
}

LowRankUpdate rank_two_update(const std::string& module, int64_t outputs, int64_t inputs, uint64_t seed = 1) {
  LowRankUpdate update;
  update.module = module;
  update.A_RI = normal({2, inputs}, seed, at::kFloat);
  update.B_OR = normal({outputs, 2}, seed + 1, at::kFloat);
  return update;
}

WeightedAdapter adapter_of(std::vector<LowRankUpdate> updates, const std::vector<HeldTensor>& replaced = {}) {
  WeightedAdapter adapter;
  adapter.adapter.updates = {replaced.begin(), replaced.end()};
  adapter.adapter.set_low_rank(std::move(updates));
  adapter.name = "an-adapter";
  return adapter;
}

TEST(Merge, ListsEverythingThatDoesNotFit) {
  const BaseLayout base{{{"q.weight", {4, 3}}, {"v.weight", {4, 3}}, {"packed.weight", {4, 3}, false}}, false};
  LowRankUpdate with_bias = rank_two_update("v", 4, 3);
  with_bias.bias_O = at::ones({4});
  const std::vector<WeightedAdapter> misfits = {
      adapter_of({rank_two_update("nowhere", 4, 3), rank_two_update("q", 3, 4), rank_two_update("packed", 4, 3), with_bias},
                 {{"norm.weight", at::ones({2})}})};
  expect_error(ErrorKind::kModel,
               {"[an-adapter]", "tensors that the base does not have: norm.weight, nowhere.weight, … (1 more)",
                "tensors of another shape in the base: q.weight [4, 3] instead of [3, 4]", "quantised in the base: packed.weight"},
               [&] { plan_merge(base, misfits, false); });

  LowRankUpdate dora = rank_two_update("q", 4, 3);
  dora.magnitude_O = at::ones({4});
  EXPECT_NO_THROW(plan_merge(base, {adapter_of({dora})}, false));
  expect_error(ErrorKind::kModel, {"DoRA together with another adapter", "q.weight"}, [&] {
    plan_merge(base, {adapter_of({dora}), adapter_of({rank_two_update("q", 4, 3)})}, false);
  });
  expect_error(ErrorKind::kModel, {"cannot be unmerged from", "DoRA, whose norms before the merge are lost: q"},
               [&] { plan_merge(base, {adapter_of({dora})}, true); });

  const WeightedAdapter ones = adapter_of({}, {{"q.weight", at::ones({4, 3})}});
  const WeightedAdapter zeros = adapter_of({}, {{"q.weight", at::zeros({4, 3})}});
  EXPECT_NO_THROW(plan_merge(base, {ones, ones}, false));
  expect_error(ErrorKind::kModel, {"two adapters have different values", "q.weight"}, [&] { plan_merge(base, {ones, zeros}, false); });
  expect_error(ErrorKind::kModel, {"whole tensors of the adapter, so that the values that they replaced are lost: q.weight"},
               [&] { plan_merge(base, {ones}, true); });
}

TEST(Merge, TiedWeightsStayTiedIfBothChangeAlike) {
  const BaseLayout base{{{"model.embed_tokens.weight", {7, 3}}, {"lm_head.weight", {7, 3}}, {"norm.weight", {3}}}, true};
  LowRankUpdate embedding = rank_two_update("model.embed_tokens", 3, 7);
  embedding.kind = PairKind::kEmbedding;
  LowRankUpdate head = embedding;  // what PEFT's ensure_weight_tying saves
  head.module = "lm_head";
  head.kind = PairKind::kLinear;
  head.A_RI = embedding.B_OR.t();
  head.B_OR = embedding.A_RI.t();
  const auto names_of = [](const MergePlan& plan) {
    std::vector<std::string> names;
    for (const MergedTensor& tensor : plan.tensors) {
      names.push_back(tensor.name);
    }
    return names;
  };
  const std::vector<std::string> tied = {"model.embed_tokens.weight", "norm.weight"};
  const MergePlan alike = plan_merge(base, {adapter_of({embedding, head})}, false);
  EXPECT_FALSE(alike.unties);
  EXPECT_EQ(names_of(alike), tied);
  EXPECT_EQ(alike.tensors[0].updates.size(), 1U);
  EXPECT_EQ(names_of(plan_merge(base, {}, false)), tied);  // the head's own tensor in the file is ignored

  head.scale = 2;
  const MergePlan apart = plan_merge(base, {adapter_of({embedding, head})}, false);
  EXPECT_TRUE(apart.unties);
  ASSERT_EQ(names_of(apart), (std::vector<std::string>{"model.embed_tokens.weight", "norm.weight", "lm_head.weight"}));
  EXPECT_EQ(apart.tensors[2].source, "model.embed_tokens.weight");
}

}  // namespace
}  // namespace lora::peft
