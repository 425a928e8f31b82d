#include "lora/nn/base_weight.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/nn/matrix_host.h"
#include "lora/nn/model.h"
#include "support/scaled_rows.h"
#include "support/tensors.h"

namespace lora::nn {
namespace {

using test::expect_equal;
using test::normal;

class AnyProjection : public MatrixHost {
 public:
  using MatrixHost::MatrixHost;
  const char* kind() const override { return "Linear"; }
};

/// A body of two projections, of which one is not dense.
class TwoProjections : public Body {
 public:
  Tensor hidden(const Pass&) const override { return {}; }
  int64_t hidden_size() const override { return 6; }
  std::vector<Host*> hosts() override { return {&scaled, &dense}; }
  std::vector<Parameter> base_parameters() const override {
    std::vector<Parameter> all = scaled.base_parameters();
    const std::vector<Parameter> more = dense.base_parameters();
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::vector<std::string> default_target_modules() const override { return {}; }
  int64_t vocab_size() const override { return 4; }
  at::ScalarType dtype() const override { return at::kDouble; }
  at::Device device() const override { return at::kCPU; }
  PassMemory pass_memory(Recompute) const override { return {}; }
  bool keeps_keys(int64_t, int64_t) const override { return true; }

  AnyProjection scaled{"q_proj", std::make_shared<const test::ScaledRows>(4, 6)};
  AnyProjection dense{"k_proj", std::make_shared<const ops::DenseWeight>(normal({4, 6}, 1))};
};

TEST(BaseWeight, ThatIsNotDenseHasASizeAndValuesButIsNoParameter) {
  TwoProjections body;
  BaseWeight& weight = body.scaled.weights()[0];
  EXPECT_EQ(weight.parameter().name, "q_proj.weight");
  EXPECT_FALSE(weight.parameter().tensor.defined());
  expect_equal(weight.base(), weight.matrix()->dequantised());
  expect_equal(weight.current(), weight.base());
  EXPECT_TRUE(body.scaled.trained().empty());

  const Model model{std::make_unique<TwoProjections>(), nullptr, nullptr};
  ASSERT_EQ(model.base_parameters().size(), 1U);
  EXPECT_EQ(model.base_parameters()[0].name, "k_proj.weight");
  EXPECT_EQ(model.base_size().values, 2 * 4 * 6);
  EXPECT_EQ(model.base_size().bytes, 4 * 6 * 8 + (4 * 6 + 4 * 8));
}

TEST(BaseWeight, ItsReplacementIsDenseAndTheSameObjectWhileItIsInUse) {
  for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
    TwoProjections body;
    const Tensor W = normal({4, 6}, 2, type);
    body.scaled.weights()[0].replace("one", W);
    const auto in_use = body.scaled.matrix_in_use();
    expect_equal(in_use->dequantised(), W.to(at::kDouble));
    EXPECT_EQ(body.scaled.matrix_in_use() == in_use, type == at::kDouble);
    body.scaled.use_adapter("");
    EXPECT_EQ(body.scaled.matrix_in_use(), body.scaled.matrix());
  }
}

}  // namespace
}  // namespace lora::nn
