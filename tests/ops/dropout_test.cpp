#include "lora/ops/dropout.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/base/random.h"
#include "support/tensors.h"

namespace lora::ops {
namespace {

using test::expect_equal;
using test::normal;

Tensor row_keys(int64_t tokens, uint64_t seed) {
  const Tensor keys = at::empty({tokens}, at::kLong);
  CounterRandom random(seed);
  for (int64_t t = 0; t < tokens; ++t) {
    keys.data_ptr<int64_t>()[t] = static_cast<int64_t>(random.next());
  }
  return keys;
}

/// Which elements of a row of ones are kept.
Tensor mask(int64_t tokens, int64_t channels, const DropoutDraw& draw) {
  return dropout(at::ones({tokens, channels}, at::kFloat), draw) != 0;
}

TEST(Dropout, TheLoopEqualsTheReferenceBitForBit) {
  const test::Threads several(4);
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
    for (const int64_t channels : {1, 2, 7, 64, 129}) {
      for (const double p : {0.1, 0.5, 0.93}) {
        const DropoutDraw draw{row_keys(301, 5), hash_name("model.layers.0.self_attn.q_proj"), p};  // 301 rows: some for each thread
        const Tensor x = normal({301, channels}, 3, type);
        expect_equal(dropout(x, draw), dropout_reference(x, draw), std::string(toString(type)) + " " + std::to_string(channels));
      }
    }
  }
  // A view that is not contiguous.
  const DropoutDraw draw{row_keys(6, 5), 1, 0.5};
  const Tensor turned = normal({4, 6}, 3, at::kFloat).t();
  expect_equal(dropout(turned, draw), dropout_reference(turned, draw));
}

TEST(Dropout, KeepsTheRightShareAndTheMean) {
  for (const double p : {0.05, 0.3, 0.8}) {
    const int64_t tokens = 400, channels = 501;
    const DropoutDraw draw{row_keys(tokens, 9), 77, p};
    const Tensor kept = mask(tokens, channels, draw).to(at::kDouble);
    const double deviation = std::sqrt(p * (1 - p) / static_cast<double>(tokens * channels));
    EXPECT_NEAR(kept.mean().item<double>(), 1 - p, 5 * deviation);
    // Also in every channel and in every row: 6 sigma over some hundred elements each.
    EXPECT_LT((kept.mean(0) - (1 - p)).abs().max().item<double>(), 6 * std::sqrt(p * (1 - p) / tokens));
    EXPECT_LT((kept.mean(1) - (1 - p)).abs().max().item<double>(), 6 * std::sqrt(p * (1 - p) / channels));
    const Tensor y = dropout(at::full({tokens, channels}, 2.0, at::kFloat), draw);
    EXPECT_EQ(y.max().item<float>(), 2.0F * static_cast<float>(1.0 / (1.0 - p)));
  }
}

TEST(Dropout, IsAFunctionOfItsKeysAlone) {
  const Tensor keys = row_keys(50, 1);
  const Tensor one = mask(50, 33, {keys, 10, 0.5});
  expect_equal(mask(50, 33, {keys.clone(), 10, 0.5}), one);
  // Another host, another step or sample: about half of the elements change.
  for (const DropoutDraw& other : {DropoutDraw{keys, 11, 0.5}, DropoutDraw{row_keys(50, 2), 10, 0.5}}) {
    const double changed = (mask(50, 33, other) != one).to(at::kDouble).mean().item<double>();
    EXPECT_NEAR(changed, 0.5, 0.07);
  }
  // A row does not depend on the rows around it, nor on the number of channels that follow.
  expect_equal(mask(3, 33, {keys.slice(0, 20, 23), 10, 0.5}), one.slice(0, 20, 23));
  expect_equal(mask(50, 12, {keys, 10, 0.5}), one.slice(1, 0, 12).contiguous());
}

TEST(Dropout, IsActiveOnlyWithKeysAndAProbability) {
  EXPECT_FALSE((DropoutDraw{Tensor(), 1, 0.5}.active()));
  EXPECT_FALSE((DropoutDraw{row_keys(2, 1), 1, 0.0}.active()));
  EXPECT_TRUE((DropoutDraw{row_keys(2, 1), 1, 0.5}.active()));
}

}  // namespace
}  // namespace lora::ops
