#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/nn/given_scores.h"
#include "lora/nn/head_scorer.h"
#include "support/batches.h"
#include "support/map_source.h"
#include "support/packed_rows.h"
#include "support/tensors.h"

namespace lora::nn {
namespace {

using test::expect_close;
using test::expect_equal;
using test::normal;

constexpr int64_t kChannels = 6, kWords = 11;

std::unique_ptr<Linear> new_head() {
  test::MapSource source;
  return std::make_unique<Linear>("lm_head", LinearShape{kChannels, kWords}, source, at::kFloat);
}

/// Five tokens, which the scorers are asked for.
const Batch& tokens() {
  static const Batch batch = test::batch_of(test::documents_of({5}, kWords));
  return batch;
}

class Inputs : public InputObserver {
 public:
  void see(const Linear& host, const Tensor& x_TI) override {
    name = host.name();
    input = x_TI;
  }

  std::string name;
  Tensor input;
};

TEST(HeadScorer, CapsLogitsAndLossesAlike) {
  const Tensor hidden_SD = normal({5, kChannels}, 1, at::kFloat), labels_S = at::tensor({3, 0, 10, 7, 7}, at::kLong);
  const Pass pass = evaluation_pass(tokens());
  const HeadScorer plain(new_head()), capped(new_head(), 2.0);
  const Tensor logits_SV = hidden_SD.mm(plain.head()->weight().t());
  expect_close(plain.logits(hidden_SD, pass), logits_SV, 1e-6);
  expect_close(capped.logits(hidden_SD, pass), 2.0 * (logits_SV / 2.0).tanh(), 1e-6);
  for (const HeadScorer* scorer : {&plain, &capped}) {
    const Tensor own_SV = scorer->logits(hidden_SD, pass);
    const Tensor loss = at::cross_entropy_loss(own_SV, labels_S, {}, at::Reduction::Sum);
    expect_close(scorer->loss_sum(hidden_SD, labels_S, pass), loss, 1e-5);
    const ops::TokenScores scores = scorer->scores(hidden_SD, labels_S, pass);
    expect_close(scores.loss_S.sum(), loss, 1e-5);
    expect_close(scorer->token_losses(hidden_SD, labels_S, pass), scores.loss_S, 1e-5);
    expect_equal(scores.correct_S, own_SV.argmax(1) == labels_S);
    EXPECT_GT(scorer->loss_bytes(1000), scorer->loss_bytes(10));
  }
}

TEST(HeadScorer, AQuantisedHeadIsNeverAWholeTensor) {
  test::PackedSource source({"lm_head"});
  const HeadScorer packed(std::make_unique<Linear>("lm_head", LinearShape{kChannels, kWords}, source, at::kFloat));
  const Tensor hidden_SD = test::trained(normal({5, kChannels}, 1, at::kFloat)), same_SD = test::trained(hidden_SD);
  const Tensor labels_S = at::tensor({3, 0, 10, 7, 7}, at::kLong);
  const Tensor expected = at::cross_entropy_loss(same_SD.mm(packed.head()->weight().t()), labels_S, {}, at::Reduction::Sum);
  const Tensor loss = packed.loss_sum(hidden_SD, labels_S, evaluation_pass(tokens()));
  expect_close(loss, expected, 1e-5);
  loss.backward();
  expected.backward();
  expect_close(hidden_SD.grad(), same_SD.grad(), 1e-5);
  EXPECT_EQ(packed.loss_bytes(1000), ops::chunked_cross_entropy_bytes({1000, kChannels, kWords, at::kFloat}));
}

TEST(HeadScorer, ItsHeadIsAHostThatObserversSee) {
  const HeadScorer scorer(new_head());
  ASSERT_EQ(scorer.hosts(), (std::vector<Host*>{scorer.head()}));
  Inputs inputs;
  const Tensor hidden_SD = normal({5, kChannels}, 1, at::kFloat);
  scorer.observe(hidden_SD, inputs);
  EXPECT_EQ(inputs.name, "lm_head");
  EXPECT_TRUE(inputs.input.is_same(hidden_SD));
}

TEST(GivenLogits, AreScoredAsAHeadsLogitsAre) {
  const HeadScorer head(new_head());
  const GivenLogits given(kWords, at::kFloat, head.head());
  const Pass pass = evaluation_pass(tokens());
  const Tensor hidden_SD = normal({5, kChannels}, 1, at::kFloat), labels_S = at::tensor({3, 0, 10, 7, 7}, at::kLong);
  const Tensor logits_SV = head.logits(hidden_SD, pass);
  EXPECT_TRUE(given.logits(logits_SV, pass).is_same(logits_SV));
  expect_close(given.loss_sum(logits_SV, labels_S, pass), head.loss_sum(hidden_SD, labels_S, pass), 1e-5);
  expect_close(given.scores(logits_SV, labels_S, pass).loss_S, head.scores(hidden_SD, labels_S, pass).loss_S, 1e-5);
  expect_close(given.token_losses(logits_SV, labels_S, pass), head.token_losses(hidden_SD, labels_S, pass), 1e-5);
  EXPECT_EQ(given.loss_bytes(5), 3 * 5 * kWords * 4);
  EXPECT_EQ(given.head(), head.head());
  EXPECT_TRUE(given.hosts().empty());  // the head is among the body's
}

}  // namespace
}  // namespace lora::nn
