// Updates of convolutions: what they compute, their tensors in files, and everything that changes their rank or adds them up.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "adapters.h"
#include "lora/peft/approximate.h"
#include "lora/peft/combine.h"
#include "lora/peft/formats.h"
#include "lora/peft/merge.h"
#include "lora/peft/update_figures.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"

namespace lora::peft {
namespace {

using test::expect_close;
using test::expect_equal;
using test::expect_error;
using test::normal;

constexpr int64_t kOutputs = 6, kInputs = 4, kRank = 2;

LowRankUpdate convolution(const std::string& module, uint64_t seed, double alpha = 3) {
  LowRankUpdate update;
  update.module = module;
  EXPECT_TRUE(set_pair(update, {normal({kRank, kInputs, 3, 3}, seed, at::kFloat), normal({kOutputs, kRank, 1, 1}, seed + 1, at::kFloat)}));
  update.alpha = alpha;
  update.scale = scale_of(alpha, kRank, /*use_rslora=*/false);
  return update;
}

Adapter adapter_with(const LowRankUpdate& update) {
  Adapter adapter;
  adapter.updates = {update};
  return adapter;
}

TEST(ConvolutionUpdate, IsTheConvolutionOfBothPartsAfterEachOther) {
  const LowRankUpdate update = convolution("conv1", 1);
  EXPECT_EQ(update.kind, PairKind::kConvolution);
  EXPECT_EQ(weight_shape(update), (std::vector<int64_t>{kOutputs, kInputs, 3, 3}));
  const FilePair pair = file_pair(update);
  expect_equal(pair.A, normal({kRank, kInputs, 3, 3}, 1, at::kFloat));
  expect_equal(pair.B, normal({kOutputs, kRank, 1, 1}, 2, at::kFloat));
  const at::Tensor x = normal({2, kInputs, 7, 6}, 9, at::kFloat);
  const at::Tensor parts = at::conv2d(at::conv2d(x, pair.A, {}, 2, 1), pair.B) * update.scale;
  expect_close(at::conv2d(x, delta(update), {}, 2, 1), parts, 1e-6);

  // Rows of a merged weight, with DoRA's lengths of whole kernels.
  const at::Tensor weight = normal({kOutputs, kInputs, 3, 3}, 3, at::kFloat);
  expect_close(merged(update, weight), weight + delta(update), 1e-7);
  LowRankUpdate dora = update;
  dora.magnitude_O = normal({kOutputs}, 4, at::kFloat).abs();
  const at::Tensor changed = merged(dora, weight);
  expect_close(changed.flatten(1).norm(2, 1), *dora.magnitude_O, 1e-6);
  expect_close(changed / changed.flatten(1).norm(2, 1).view({-1, 1, 1, 1}),
               (weight + delta(update)) / (weight + delta(update)).flatten(1).norm(2, 1).view({-1, 1, 1, 1}), 1e-6);
  expect_equal(merged(rows_of(dora, 2, 5), weight.slice(0, 2, 5)), changed.slice(0, 2, 5));
  EXPECT_EQ(tensors_of(AdapterUpdate(dora))[2].tensor.sizes().vec(), (std::vector<int64_t>{1, kOutputs, 1, 1}));  // as PEFT has it

  LowRankUpdate wrong;
  for (const auto& [a, b] : {std::pair(std::vector<int64_t>{2, 4, 3, 3}, std::vector<int64_t>{6, 2}),
                             std::pair(std::vector<int64_t>{2, 4, 3, 3}, std::vector<int64_t>{6, 2, 3, 3}),
                             std::pair(std::vector<int64_t>{2, 4, 3, 3}, std::vector<int64_t>{6, 3, 1, 1}),
                             std::pair(std::vector<int64_t>{2}, std::vector<int64_t>{6})}) {
    EXPECT_FALSE(set_pair(wrong, {at::zeros(a), at::zeros(b)}));
  }
}

TEST(ConvolutionUpdate, IsMergedResizedCombinedAndRefused) {
  const LowRankUpdate first = convolution("conv1", 1), second = convolution("conv1", 5, 1);
  const BaseLayout base{{{"conv1.weight", {kOutputs, kInputs, 3, 3}}}};
  const std::vector<WeightedAdapter> adapters{{adapter_with(first), 0.5, "first"}, {adapter_with(second), -1, "second"}};
  const MergePlan plan = plan_merge(base, adapters, /*subtract=*/false);
  const at::Tensor weight = normal({kOutputs, kInputs, 3, 3}, 3, at::kFloat);
  const at::Tensor sum = delta(first) * 0.5 - delta(second);
  const at::Tensor pieces = at::cat({merged_rows(plan.tensors[0], weight, 0, 4), merged_rows(plan.tensors[0], weight, 4, 6)});
  expect_close(pieces, weight + sum, 1e-6);
  expect_error(ErrorKind::kModel, {"another shape", "[6, 4, 1, 1]"}, [&] {
    plan_merge({{{"conv1.weight", {kOutputs, kInputs, 1, 1}}}}, adapters, false);
  });

  for (const char* method : {"cat", "svd", "magnitude_prune_svd"}) {
    CombineOptions options;
    options.method = method;
    options.density = options.method == "magnitude_prune_svd" ? std::optional(1.0) : std::nullopt;
    options.svd_rank = options.method == "cat" ? std::nullopt : std::optional<int64_t>(2 * kRank);
    const Adapter combined = combine(adapters, options);
    expect_close(delta(test::pair_of(combined)), sum, 1e-5, method);
  }
  const Approximation larger = resized(adapter_with(first), 3);
  expect_close(delta(test::pair_of(larger.adapter)), delta(first), 1e-6);
  const Approximation smaller = resized(adapter_with(first), 1);
  EXPECT_EQ(weight_shape(test::pair_of(smaller.adapter)), weight_shape(first));
  EXPECT_NEAR(smaller.relative_error(), relative_difference(first, test::pair_of(smaller.adapter)), 1e-6);
  EXPECT_NEAR(figures_of(first).norm_update, delta(first).norm().item<double>(), 1e-5);
  LowRankUpdate dora = first;
  dora.magnitude_O = normal({kOutputs}, 4, at::kFloat).abs();
  const Approximation plain = baked(adapter_with(dora), kOutputs, [&](const std::string&) { return weight; });
  expect_close(weight + delta(test::pair_of(plain.adapter)), merged(dora, weight), 1e-5);
  const Adapter folded = with_folded_scales(adapter_with(first));
  EXPECT_EQ(test::pair_of(folded).alpha, kRank);
  expect_close(delta(test::pair_of(folded)), delta(first), 1e-6);

  // Formats of language models have no convolutions.
  const test::TemporaryFolder folder;
  for (const AdapterFormat format : {AdapterFormat::kMlx, AdapterFormat::kKohya, AdapterFormat::kVllm}) {
    expect_error(ErrorKind::kModel, {"convolutions", "conv1"},
                 [&] { write_foreign_adapter(format, folder / "x", adapter_with(first), {}, {}); });
  }
}

TEST(ConvolutionUpdate, IsExtractedFromTheDifferenceOfTwoCheckpoints) {
  const test::TemporaryFolder folder;
  const LowRankUpdate update = convolution("conv1", 1);
  const at::Tensor weight = normal({kOutputs, kInputs, 3, 3}, 3, at::kFloat);
  for (const auto& [name, tensor] : {std::pair<std::string, at::Tensor>("base", weight), {"tuned", weight + delta(update)}}) {
    std::filesystem::create_directory(folder / name);
    io::save_tensors(folder / name / "model.safetensors", {{"conv1.weight", tensor}});
  }
  const io::SafetensorsCheckpoint base(folder / "base"), tuned(folder / "tuned");
  const Extraction extraction = extracted(base, tuned, {{"conv1"}, {}}, kRank);
  expect_close(delta(test::pair_of(extraction.approximation.adapter)), delta(update), 1e-4);
  EXPECT_TRUE(extraction.not_captured.empty());
}

}  // namespace
}  // namespace lora::peft
