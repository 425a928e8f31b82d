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

  EXPECT_TRUE(weight.is_quantised());
  EXPECT_FALSE(body.dense.weights()[0].is_quantised());
  EXPECT_EQ(weight.shape(), (std::vector<int64_t>{4, 6}));
  EXPECT_EQ(weight.dtype(), at::kDouble);
  expect_equal(weight.base_rows({3, 0}), weight.base().index_select(0, at::tensor({3, 0}, at::kLong)));

  const Model model{"", std::make_unique<TwoProjections>(), nullptr, nullptr};
  ASSERT_EQ(model.base_parameters().size(), 1U);
  EXPECT_EQ(model.base_parameters()[0].name, "k_proj.weight");
  EXPECT_EQ(model.base_size().values, 2 * 4 * 6);
  EXPECT_EQ(model.base_size().bytes, 4 * 6 * 8 + (4 * 6 + 4 * 8));
}

TEST(BaseWeight, SharesItsValuesWithThatOfATiedModule) {
  const Tensor table_VD = normal({4, 6}, 1);
  AnyProjection table{"embed", std::make_shared<const ops::DenseWeight>(table_VD, WeightLayout::kInOut)};
  AnyProjection head{"head", std::make_shared<const ops::DenseWeight>(table_VD), /*owned=*/false};
  AnyProjection like_it{"other", std::make_shared<const ops::DenseWeight>(table_VD.clone())};
  AnyProjection scaled{"scaled", std::make_shared<const test::ScaledRows>(4, 6)};
  AnyProjection tied{"tied", scaled.matrix(), /*owned=*/false}, separate{"separate", std::make_shared<const test::ScaledRows>(4, 6)};
  const auto share = [](AnyProjection& a, AnyProjection& b) {
    const bool shares = a.weights()[0].shares_values_with(b.weights()[0]);
    EXPECT_EQ(b.weights()[0].shares_values_with(a.weights()[0]), shares);
    return shares;
  };
  EXPECT_TRUE(share(table, head));
  EXPECT_FALSE(share(table, like_it));
  EXPECT_TRUE(share(scaled, tied));
  EXPECT_FALSE(share(scaled, separate));
  EXPECT_FALSE(share(scaled, table));
  EXPECT_EQ(table.weights()[0].shape(), (std::vector<int64_t>{4, 6}));
  expect_equal(table.weights()[0].base_rows({2, 2, 1}), table_VD.index_select(0, at::tensor({2, 2, 1}, at::kLong)));
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
