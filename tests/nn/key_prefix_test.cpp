// Keys and values before each document's, by a kind of attachment that no method has: attention with them is compared with the plain
// formula, document by document.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>

#include "lora/nn/attention.h"
#include "lora/nn/batch_room.h"
#include "lora/nn/kv_cache.h"
#include "lora/nn/low_rank.h"
#include "lora/nn/pass.h"
#include "support/batches.h"
#include "support/given_keys.h"
#include "support/gradients.h"
#include "support/tensors.h"

namespace lora::nn {
namespace {

using test::expect_close;
using test::GivenKeys;
using test::normal;
using test::trained;

constexpr HeadSizes kHeads{4, 2, 6};  // grouped queries
constexpr int64_t kPrefix = 3;
const std::vector<int64_t> kLengths{5, 1, 7};

GivenKeys given_keys(const std::string& adapter, uint64_t seed, at::ScalarType type = at::kDouble) {
  const std::vector<int64_t> shape{kPrefix, kHeads.num_key_value_heads, kHeads.head_dim};
  return {adapter, trained(normal(shape, seed, type)), trained(normal(shape, seed + 1, type))};
}

Batch batch_of(const std::vector<int64_t>& lengths) {
  return test::batch_of(test::documents_of(lengths, 20));
}

/// Queries, keys and values of some tokens.
struct Projected {
  explicit Projected(int64_t tokens, at::ScalarType type = at::kDouble)
      : q_THE(trained(normal({tokens, kHeads.num_heads, kHeads.head_dim}, 1, type))),
        k_TKE(trained(normal({tokens, kHeads.num_key_value_heads, kHeads.head_dim}, 2, type))),
        v_TKE(trained(normal({tokens, kHeads.num_key_value_heads, kHeads.head_dim}, 3, type))) {}

  Tensor q_THE, k_TKE, v_TKE;
};

/// softmax(q kᵀ · scale) v over the prefix and a document's own keys, with loops over documents and heads.
Tensor plain(const Projected& x, const KeyPrefix& prefix, const std::vector<int64_t>& lengths, const ops::AttentionOptions& options) {
  std::vector<Tensor> outputs;
  int64_t begin = 0;
  for (const int64_t length : lengths) {
    const int64_t before = prefix.keys_NKE.size(0);
    const Tensor own_L = at::arange(length).unsqueeze(1) + before, key_M = at::arange(before + length).unsqueeze(0);
    Tensor hidden_LM = options.causal ? key_M > own_L : at::zeros({length, before + length}, at::kBool);
    if (options.window) {
      hidden_LM = hidden_LM.logical_or(key_M <= own_L - *options.window);
    }
    std::vector<Tensor> heads;
    for (int64_t h = 0; h < kHeads.num_heads; ++h) {
      const int64_t key_head = h * kHeads.num_key_value_heads / kHeads.num_heads;
      const auto with = [&](const Tensor& prefix_NKE, const Tensor& x_TKE) {
        return at::cat({prefix_NKE.select(1, key_head), x_TKE.slice(0, begin, begin + length).select(1, key_head)});
      };
      const Tensor scores_LM = x.q_THE.slice(0, begin, begin + length).select(1, h).mm(with(prefix.keys_NKE, x.k_TKE).t());
      const Tensor seen_LM = (scores_LM * options.scale).masked_fill(hidden_LM, -std::numeric_limits<double>::infinity());
      heads.push_back(at::softmax(seen_LM, 1).mm(with(prefix.values_NKE, x.v_TKE)));
    }
    outputs.push_back(at::stack(heads, 1));
    begin += length;
  }
  return at::cat(outputs);
}

const std::vector<ops::AttentionOptions> kAllOptions{{.scale = 0.4}, {.scale = 0.4, .window = 4}, {.scale = 0.4, .causal = false}};

TEST(KeyPrefix, IsSeenByEveryTokenOfEachDocument) {
  for (const ops::AttentionOptions& options : kAllOptions) {
    Attention attention("", 0, kHeads, options);
    const GivenKeys first = given_keys("default", 10), second = given_keys("default", 20);
    attention.attach(first);
    attention.attach(second);
    EXPECT_EQ(attention.prefix_length(), 2 * kPrefix);
    const Projected x(13);
    const auto run = [&](bool as_plain) {
      const KeyPrefix both{at::cat({first.keys_NKE, second.keys_NKE}), at::cat({first.values_NKE, second.values_NKE})};
      const Tensor y = as_plain ? plain(x, both, kLengths, options)
                                : attention.forward(x.q_THE, x.k_TKE, x.v_TKE, evaluation_pass(batch_of(kLengths)));
      std::vector<Tensor> all{y};
      for (const Tensor& leaf : {x.q_THE, x.k_TKE, x.v_TKE, first.keys_NKE, first.values_NKE, second.keys_NKE, second.values_NKE}) {
        leaf.mutable_grad() = Tensor();
      }
      (y * normal(y.sizes().vec(), 5)).sum().backward();
      for (const Tensor& leaf : {x.q_THE, x.k_TKE, x.v_TKE, first.keys_NKE, first.values_NKE, second.keys_NKE, second.values_NKE}) {
        all.push_back(leaf.grad().clone());
      }
      return all;
    };
    const std::vector<Tensor> found = run(false), expected = run(true);
    for (size_t i = 0; i < expected.size(); ++i) {
      expect_close(found[i], expected[i], 1e-12);
    }
  }
}

TEST(KeyPrefix, OfFloat32IsComputedWithInTheModelsDtype) {
  Attention attention("", 0, kHeads, {.scale = 0.4});
  const GivenKeys prefix = given_keys("default", 10, at::kFloat);
  attention.attach(prefix);
  const Projected x(13, at::kBFloat16);
  const Tensor y = attention.forward(x.q_THE, x.k_TKE, x.v_TKE, evaluation_pass(batch_of(kLengths)));
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  y.sum().backward();
  EXPECT_EQ(prefix.keys_NKE.grad().scalar_type(), at::kFloat);
  EXPECT_GT(prefix.keys_NKE.grad().abs().max().item<double>(), 0.0);
}

TEST(KeyPrefix, TakesPartWhileItsAdapterIsInUse) {
  Attention attention("", 0, kHeads, {.scale = 0.4});
  const Projected x(13);
  const auto run = [&] { return attention.forward(x.q_THE, x.k_TKE, x.v_TKE, evaluation_pass(batch_of(kLengths))); };
  const Tensor bare = run();
  const Kept kept = attention.kept();
  EXPECT_EQ(kept.elements, 2 * (4 + 2) * 6);
  EXPECT_EQ(attention.kept_per_document().elements, 0);
  attention.attach(given_keys("one", 10));
  EXPECT_FALSE(at::allclose(run(), bare));
  EXPECT_TRUE(attention.is_trained());
  EXPECT_EQ(attention.kept().elements, kept.elements + 4 * 6);
  EXPECT_EQ(attention.kept_per_document().elements, kPrefix * kept.elements);
  EXPECT_EQ(attention.kept_per_document().floats, kPrefix * kept.floats);
  attention.use_adapter("");
  test::expect_equal(run(), bare);
  EXPECT_EQ(attention.prefix_length(), 0);
  attention.use_adapter("one");
  attention.attach(LowRank("one", normal({2, 6}, 1), normal({4, 2}, 2)));
  EXPECT_THROW(run(), std::logic_error);
}

TEST(KeyPrefix, DropoutOfTheBaseAppliesToItToo) {
  const double p = 0.4;
  Attention attention("attention", 0, kHeads, {.scale = 0.4}, p);
  const GivenKeys prefix{"default", trained(at::zeros({kPrefix, 2, 6}, at::kDouble)), trained(at::ones({kPrefix, 2, 6}, at::kDouble))};
  attention.attach(prefix);
  const Tensor q = at::zeros({400, 4, 6}, at::kDouble), k = at::zeros({400, 2, 6}, at::kDouble), v = at::zeros({400, 2, 6}, at::kDouble);
  const auto seen = [&](int64_t step) {
    const at::NoGradGuard no_grad;
    const std::vector<int64_t> single(400, 1);
    return attention.forward(q, k, v, training_pass(batch_of(single), 7, step)).select(2, 0);  // share of the prefix's keys: 3 of 4
  };
  const Tensor share = seen(0);
  test::expect_equal(seen(0), share);
  EXPECT_FALSE(at::equal(seen(1), share));
  EXPECT_NEAR(share.mean().item<double>(), 0.75, 0.02);
  EXPECT_NEAR(share.eq(0).to(at::kDouble).mean().item<double>(), std::pow(p, kPrefix), 0.02);
}

TEST(KeyPrefix, IsCachedOnceForEachDocument) {
  for (const ops::AttentionOptions& options : {kAllOptions[0], kAllOptions[1]}) {
    const at::NoGradGuard no_grad;
    Attention attention("", 0, kHeads, options);
    const GivenKeys prefix = given_keys("default", 10);
    attention.attach(prefix);
    const Projected x(13);
    const Tensor expected = plain(x, {prefix.keys_NKE, prefix.values_NKE}, kLengths, options);
    KvCache cache(kLengths, kPrefix);
    const std::vector<int64_t> offsets{0, 5, 6, 13};
    std::vector<int64_t> read(3, 0);
    // The first pass has the first and the last document, and the second one joins them later.
    for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{2, 0, 4}, {3, 1, 1}, {0, 0, 2}}) {
      std::vector<Tensor> rows;
      std::vector<DocumentPlace> places;
      for (int64_t d = 0; d < 3; ++d) {
        if (lengths[d] > 0) {
          rows.push_back(at::arange(offsets[d] + read[d], offsets[d] + read[d] + lengths[d]));
          places.push_back({lengths[d], d, read[d]});
          read[d] += lengths[d];
        }
      }
      const Tensor row_T = at::cat(rows);
      const auto cut = [&row_T](const Tensor& all) { return all.index_select(0, row_T); };
      const Pass pass = cached_pass({make_layout(places), Tokens{row_T, std::nullopt}, {}}, cache);
      expect_close(attention.forward(cut(x.q_THE), cut(x.k_TKE), cut(x.v_TKE), pass), cut(expected), 1e-12);
    }
    EXPECT_EQ(cache.length(2), 7);
    cache.forget(2);
    const Pass again = cached_pass({make_layout({{7, 2, 0}}), Tokens{at::arange(7), std::nullopt}, {}}, cache);
    const auto last = [](const Tensor& all) { return all.slice(0, 6, 13); };
    expect_close(attention.forward(last(x.q_THE), last(x.k_TKE), last(x.v_TKE), again), last(expected), 1e-12);
  }
}

TEST(KeyPrefix, NeedsACacheThatWasMadeForIt) {
  Attention attention("", 0, kHeads, {.scale = 0.4});
  attention.attach(given_keys("default", 10));
  const Projected x(13);
  for (const int64_t made_for : {0, 2}) {
    KvCache cache(kLengths, made_for);
    const Pass pass = cached_pass(batch_of(kLengths), cache);
    EXPECT_THROW(attention.forward(x.q_THE, x.k_TKE, x.v_TKE, pass), c10::Error);
  }
}

TEST(KeyPrefix, MovesPositionsAndLengths) {
  const Pass pass = training_pass(batch_of(kLengths), 1, 0);
  const Pass after = pass.after_prefix(kPrefix);
  test::expect_equal(after.layout().positions_T, pass.layout().positions_T + kPrefix);
  EXPECT_EQ(after.layout().full_length(2), kPrefix + 7);
  EXPECT_EQ(after.layout().length(2), 7);
  test::expect_equal(after.row_keys_T, pass.row_keys_T);
  EXPECT_EQ(&pass.after_prefix(0).batch(), &pass.batch());
}

TEST(KeyPrefix, OfAPaddedBatchIsThatOfItsDocuments) {
  const at::NoGradGuard no_grad;
  Attention attention("", 0, kHeads, {.scale = 0.4});
  attention.attach(given_keys("default", 10));
  const Batch batch = batch_of(kLengths), whole = padded(batch, room_of(batch));
  const Projected x(whole.num_tokens());
  const auto own = [](const Tensor& all) { return all.slice(0, 0, 13); };
  expect_close(own(attention.forward(x.q_THE, x.k_TKE, x.v_TKE, evaluation_pass(whole))),
               attention.forward(own(x.q_THE), own(x.k_TKE), own(x.v_TKE), evaluation_pass(batch)), 1e-12);
}

}  // namespace
}  // namespace lora::nn
