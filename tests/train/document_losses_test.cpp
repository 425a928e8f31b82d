// The loss of each document, of the model with its adapter and of the bare one: what objectives on pairs are made of.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "lora/nn/adapters.h"
#include "lora/nn/linear.h"
#include "lora/train/causal_lm.h"
#include "support/batches.h"
#include "support/tensors.h"
#include "support/tiny_llama.h"

namespace lora::train {
namespace {

using at::Tensor;

/// A tiny model with one pair on a projection of its first layer.
struct AdaptedModel {
  AdaptedModel() : base(test::tiny_llama()) {
    for (nn::Host* host : base.model->hosts()) {
      if (auto* const linear = dynamic_cast<nn::Linear*>(host); linear != nullptr && host->name().ends_with("layers.0.self_attn.q_proj")) {
        linear->attach(nn::LowRank("own", A, B, 2.0));
      }
    }
  }
  nn::Model& model() { return *base.model; }

  models::BaseModel base;
  Tensor A = test::trained(test::normal({2, 16}, 1, at::kFloat)), B = test::trained(test::normal({16, 2}, 2, at::kFloat));
};

TEST(DocumentLosses, AreTheSumsOfTheirTokens) {
  AdaptedModel adapted;
  const std::vector<test::Document> documents = test::documents_of({5, 2, 9}, 50);
  const nn::Batch batch = test::batch_of(documents);
  const Tensor loss_D = document_losses(adapted.model(), nn::evaluation_pass(batch));
  ASSERT_EQ(loss_D.sizes(), at::IntArrayRef({3}));
  const Tensor loss_S = token_scores(adapted.model(), batch).loss_S;
  test::expect_close(loss_D.detach(), at::stack({loss_S.slice(0, 0, 4).sum(), loss_S.slice(0, 4, 5).sum(), loss_S.slice(0, 5).sum()}),
                     1e-5);
}

TEST(DocumentLosses, EachHasItsOwnGradient) {
  AdaptedModel together, separate;
  const std::vector<test::Document> documents = test::documents_of({5, 2, 9}, 50);
  const Tensor factor_D = at::tensor({0.5, -2.0, 3.0}, at::kFloat);
  (document_losses(together.model(), nn::evaluation_pass(test::batch_of(documents))) * factor_D).sum().backward();
  for (size_t d = 0; d < documents.size(); ++d) {
    const nn::Pass pass = nn::evaluation_pass(test::batch_of({documents[d]}));
    const data::Dataset none;
    (CausalLm({separate.model(), none}).loss_sum(pass, 0) * factor_D[static_cast<int64_t>(d)]).backward();
  }
  test::expect_close(together.A.grad(), separate.A.grad(), 1e-5, "A");
  test::expect_close(together.B.grad(), separate.B.grad(), 1e-5, "B");
}

TEST(AdapterScope, GivesTheBareModelAndThenTheAdapterAgain) {
  AdaptedModel adapted;
  models::BaseModel bare = test::tiny_llama();
  const nn::Pass pass = nn::evaluation_pass(test::batch_of(test::documents_of({5, 7}, 50)));
  const Tensor with = document_losses(adapted.model(), pass);
  EXPECT_EQ(nn::adapter_in_use(adapted.model()), "own");
  {
    const at::NoGradGuard no_grad;
    const nn::AdapterScope scope(adapted.model(), "");
    EXPECT_EQ(nn::adapter_in_use(adapted.model()), "");
    test::expect_equal(document_losses(adapted.model(), pass), document_losses(*bare.model, pass));
  }
  EXPECT_EQ(nn::adapter_in_use(adapted.model()), "own");
  const Tensor again = document_losses(adapted.model(), pass);
  test::expect_equal(again.detach(), with.detach());
  EXPECT_FALSE(at::equal(with.detach(), document_losses(*bare.model, pass).detach()));
}

TEST(AdapterScope, TwoAdaptersInUseAreAProgrammingError) {
  AdaptedModel adapted;
  for (nn::Host* host : adapted.model().hosts()) {
    if (auto* const linear = dynamic_cast<nn::Linear*>(host); linear != nullptr && host->name().ends_with("layers.1.self_attn.q_proj")) {
      linear->attach(nn::LowRank("other", adapted.A, adapted.B, 2.0));
    }
  }
  EXPECT_THROW(nn::adapter_in_use(adapted.model()), c10::Error);
  nn::use_adapter(adapted.model(), "other");
  EXPECT_EQ(nn::adapter_in_use(adapted.model()), "other");
}

}  // namespace
}  // namespace lora::train
