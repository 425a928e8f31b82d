#include "lora/ops/attention_dropout.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/gradients.h"
#include "support/tensors.h"

namespace lora::ops {
namespace {

using test::expect_close;
using test::expect_equal;
using test::normal;

const AttentionOptions kPlain{.scale = 0.37};

/// Documents of 3, 5 and 2 tokens; 4 query heads for 2 key heads.
struct Batch {
  std::vector<int64_t> host{0, 3, 8, 10};
  Tensor offsets = at::tensor({0, 3, 8, 10}, at::kInt);
  Tensor keys_T = at::arange(10, at::kLong) * 7919 + 12345;

  DocumentLayout layout() const { return {offsets, host, 5}; }
  std::vector<Tensor> inputs(at::ScalarType type) const {
    return {normal({10, 4, 6}, 1, type).requires_grad_(true), normal({10, 2, 6}, 2, type).requires_grad_(true),
            normal({10, 2, 6}, 3, type).requires_grad_(true)};
  }
  Tensor attend(const std::vector<Tensor>& in, double p, uint64_t site = 17, const AttentionOptions& options = kPlain) const {
    return document_attention_with_dropout(in[0], in[1], in[2], layout(), options, {keys_T, site, p});
  }
};

TEST(AttentionDropout, AtRateZeroIsPlainAttention) {
  const Batch batch;
  for (const AttentionOptions& options :
       {kPlain, AttentionOptions{.scale = 0.37, .window = 3, .soft_cap = 0.8}, AttentionOptions{.scale = 0.37, .causal = false},
        AttentionOptions{.scale = 0.37, .window = 2, .causal = false}}) {
    const auto op = [&](const std::vector<Tensor>& in) { return batch.attend(in, 0.0, 17, options); };
    const auto reference = [&](const std::vector<Tensor>& in) {
      return document_attention_reference(in[0], in[1], in[2], batch.layout(), options);
    };
    test::expect_same_as_reference(op, reference, batch.inputs(at::kDouble), 1e-12);
    test::expect_same_as_reference(op, reference, batch.inputs(at::kFloat), 2e-6);
  }
  const DropoutDraw no_keys{Tensor(), 17, 0.5};  // an evaluation
  const std::vector<Tensor> in = batch.inputs(at::kFloat);
  expect_close(document_attention_with_dropout(in[0], in[1], in[2], batch.layout(), kPlain, no_keys),
               document_attention_reference(in[0], in[1], in[2], batch.layout(), kPlain), 2e-6);
}

TEST(AttentionDropout, HasTheGradientsOfItsDraw) {
  const Batch batch;
  test::expect_gradients([&batch](const std::vector<Tensor>& in) { return batch.attend(in, 0.4); }, batch.inputs(at::kDouble), 1e-5, 1e-7);
}

TEST(AttentionDropout, DropsProbabilitiesByTokenAndHead) {
  // With v one-hot by the position of the key, the output is the probabilities themselves.
  const Batch batch;
  std::vector<Tensor> in = batch.inputs(at::kDouble);
  in[2] = at::zeros({10, 2, 6}, at::kDouble);
  for (int64_t t = 0; t < 10; ++t) {
    const int64_t place = t < 3 ? t : t < 8 ? t - 3 : t - 8;
    in[2].select(0, t).select(1, place).fill_(1);
  }
  const Tensor whole_THE = batch.attend(in, 0.0), kept_THE = batch.attend(in, 0.25);
  const Tensor dropped = kept_THE.eq(0).logical_and(whole_THE.ne(0));
  expect_close(kept_THE, at::where(dropped, at::zeros_like(whole_THE), whole_THE / 0.75), 1e-12);
  EXPECT_TRUE(dropped.any().item<bool>());
  // Heads, sites and tokens have independent masks.
  EXPECT_FALSE(at::equal(dropped.select(1, 0), dropped.select(1, 1)));
  EXPECT_FALSE(at::equal(batch.attend(in, 0.25, 18), kept_THE));
  expect_equal(batch.attend(in, 0.25), kept_THE);

  Tensor sum = at::zeros_like(whole_THE);
  for (uint64_t site = 0; site < 4000; ++site) {
    sum += batch.attend(in, 0.25, site);
  }
  test::expect_near(sum / 4000, whole_THE, 0.05, "the mean of many draws");
}

TEST(AttentionDropout, ADocumentsDrawDoesNotDependOnItsNeighbours) {
  const Batch batch;
  const std::vector<Tensor> in = batch.inputs(at::kFloat);
  const std::vector<int64_t> host{0, 5};
  const Tensor offsets = at::tensor({0, 5}, at::kInt);
  const auto own = [](const Tensor& x) { return x.slice(0, 3, 8); };
  const Tensor alone =
      document_attention_with_dropout(own(in[0]), own(in[1]), own(in[2]), {offsets, host, 5}, kPlain, {own(batch.keys_T), 17, 0.3});
  expect_equal(alone, own(batch.attend(in, 0.3)));
}

}  // namespace
}  // namespace lora::ops
