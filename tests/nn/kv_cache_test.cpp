#include "lora/nn/kv_cache.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/nn/attention.h"
#include "lora/nn/pass.h"
#include "lora/nn/rope.h"
#include "support/tensors.h"

namespace lora::nn {
namespace {

using test::expect_equal;
using test::normal;

const std::vector<int32_t> kIds{3, 1, 4, 1, 5, 9, 2, 6};

/// `lengths[d]` tokens of document d after the cached ones; 0: the document is not in the batch.
Batch next_batch(const KvCache& cache, const std::vector<int64_t>& lengths) {
  static std::vector<std::vector<int32_t>> ids;
  ids.clear();
  std::vector<DocumentView> views;
  ids.reserve(lengths.size());
  for (size_t d = 0; d < lengths.size(); ++d) {
    if (lengths[d] > 0) {
      ids.emplace_back(kIds.begin(), kIds.begin() + lengths[d]);
      views.push_back({&ids.back(), nullptr, static_cast<int64_t>(d), cache.length(static_cast<int64_t>(d))});
    }
  }
  return make_token_batch(views);
}

TEST(TokenBatch, GoesOnBehindWhatIsCached) {
  const Batch batch = make_token_batch({{&kIds, nullptr, 4, 3}, {&kIds, &kIds, 7, 0}});
  expect_equal(batch.layout.positions_T.slice(0, 0, 8), at::arange(3, 11, at::kLong));
  expect_equal(batch.layout.positions_T.slice(0, 8), at::arange(0, 8, at::kLong));
  EXPECT_EQ(batch.layout.full_length(0), 11);
  EXPECT_EQ(batch.layout.full_length(1), 8);
  EXPECT_EQ(batch.num_supervised(), 7);
  EXPECT_TRUE((batch.labels().labels_T.slice(0, 0, 8) == kIgnoreLabel).all().item<bool>());
}

TEST(KvCache, KeepsEachDocumentsTokensInOrder) {
  KvCache cache({6, 2, 5});
  const Tensor first = normal({6, 2, 4}, 1), second = normal({3, 2, 4}, 2);
  const Batch prompts = next_batch(cache, {3, 1, 2});
  const Pass pass = cached_pass(prompts, cache);
  EXPECT_FALSE(pass.training());
  for (const int64_t layer : {0, 1}) {
    cache.store(layer, first + static_cast<double>(layer), -first);
  }
  const Batch rest = next_batch(cache, {1, 0, 2});  // the middle one is done
  cached_pass(rest, cache);
  cache.store(0, second, second);
  cache.store(1, second + 1.0, second);
  const ops::KeyLayout layout = cache.layout();
  EXPECT_EQ(layout.host_begins, (std::vector<int64_t>{0, 8, 13}));
  EXPECT_EQ(layout.host_lengths, (std::vector<int64_t>{4, 4}));
  expect_equal(layout.begins, at::tensor({0, 8, 13}, at::kInt));
  expect_equal(layout.lengths, at::tensor({4, 4}, at::kInt));
  EXPECT_EQ(layout.max_length, 4);
  for (const int64_t layer : {0, 1}) {
    const double shift = static_cast<double>(layer);
    expect_equal(cache.keys(layer).slice(0, 0, 4), at::cat({first.slice(0, 0, 3), second.slice(0, 0, 1)}) + shift);
    expect_equal(cache.keys(layer).slice(0, 8, 12), at::cat({first.slice(0, 4, 6), second.slice(0, 1, 3)}) + shift);
    expect_equal(cache.values(layer).slice(0, 6, 7), -first.slice(0, 3, 4));
  }
  EXPECT_EQ(cache.length(0), 4);
  EXPECT_EQ(cache.length(1), 1);
}

TEST(KvCache, RefusesWhatDoesNotGoOnWhereItEndsOrDoesNotFit) {
  KvCache cache({4});
  const Batch prompt = next_batch(cache, {3});
  cached_pass(prompt, cache);
  EXPECT_THROW(cached_pass(prompt, cache), c10::Error);
  const Batch too_long = next_batch(cache, {2});
  EXPECT_THROW(cached_pass(too_long, cache), c10::Error);
}

TEST(Attend, PassByPassGivesWhatOnePassGives) {
  const Tensor q = normal({8, 4, 6}, 1), k = normal({8, 2, 6}, 2), v = normal({8, 2, 6}, 3);
  const Batch whole = make_token_batch({{&kIds, nullptr, 0}});
  const Attention attention("", 0, {4, 2, 6}, {.scale = 0.4});
  const Tensor expected = attention.forward(q, k, v, evaluation_pass(whole));
  KvCache cache({8});
  for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, 5}, {5, 6}, {6, 8}}) {
    const Batch part = next_batch(cache, {end - begin});
    const auto cut = [&](const Tensor& x) { return x.slice(0, begin, end); };
    test::expect_close(attention.forward(cut(q), cut(k), cut(v), cached_pass(part, cache)), cut(expected), 1e-12);
  }
}

TEST(Rope, DynamicTakesTheLengthSoFarWithACache) {
  RopeOptions options;
  options.kind = RopeKind::kDynamic;
  options.dim = 8;
  options.factor = 4;
  options.max_position_embeddings = 6;
  KvCache cache({8});
  const Batch prompt = next_batch(cache, {6});
  cached_pass(prompt, cache);
  const Batch seventh = next_batch(cache, {1});
  const Tensor cos = Rope(options).tables(seventh.layout, at::kDouble).cos_TE[0];
  const Tensor frequencies = rope_inverse_frequencies(options, 7);
  test::expect_near(cos, (at::cat({frequencies, frequencies}) * 6.0).cos(), 1e-6);
  EXPECT_GT((cos - (at::cat({rope_inverse_frequencies(options, 1), rope_inverse_frequencies(options, 1)}) * 6.0).cos())
                .abs()
                .max()
                .item<double>(),
            0.01);
}

}  // namespace
}  // namespace lora::nn
