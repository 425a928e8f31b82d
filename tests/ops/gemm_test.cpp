#include "ops/gemm.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/tensors.h"

namespace lora::ops {
namespace {

using at::Tensor;
using test::expect_close;
using test::normal;

// Products below and above the size from which another library may be called, of matrices in every layout.
TEST(Gemm, EveryLayoutEqualsTheProductInFloat64) {
  for (const auto& [m, k, n] : std::vector<std::array<int64_t, 3>>{{3, 5, 4}, {1, 700, 900}, {130, 70, 90}, {257, 16, 130}}) {
    const Tensor wide = normal({m, k + 3}, 1, at::kFloat), a_plain = normal({m, k}, 2, at::kFloat), b_plain = normal({k, n}, 3, at::kFloat);
    const std::vector<Tensor> lefts{a_plain, a_plain.t().contiguous().t(), wide.slice(1, 1, k + 1)};
    const std::vector<Tensor> rights{b_plain, b_plain.t().contiguous().t()};
    for (const Tensor& a : lefts) {
      for (const Tensor& b : rights) {
        const Tensor expected = a.to(at::kDouble).mm(b.to(at::kDouble));
        expect_close(gemm(a, b), expected, 1e-6);
        const Tensor c = normal({m, n}, 4, at::kFloat), sum = c.clone(), fresh = at::full({m, n}, 7.0);
        gemm_(sum, a, b, 1, -0.5);
        expect_close(sum, c - 0.5 * expected, 1e-6);
        gemm_(fresh, a, b, 0);
        expect_close(fresh, expected, 1e-6);
        Tensor table = at::zeros({m, n + 2});
        gemm_(table.slice(1, 1, n + 1), a, b);
        expect_close(table.slice(1, 1, n + 1), expected, 1e-6);
        EXPECT_EQ(table.select(1, 0).abs().sum().item<float>() + table.select(1, n + 1).abs().sum().item<float>(), 0);
      }
    }
  }
}

TEST(Gemm, OtherTypesAndEmptyMatrices) {
  for (const auto& [type, tolerance] : {std::pair{at::kDouble, 1e-14}, {at::kBFloat16, 0x1p-7}}) {
    const Tensor a = normal({130, 70}, 1, type), b = normal({70, 90}, 2, type);
    expect_close(gemm(a, b), a.to(at::kDouble).mm(b.to(at::kDouble)), tolerance);
  }
  EXPECT_EQ(gemm(at::empty({0, 5}), at::empty({5, 4})).sizes(), (std::vector<int64_t>{0, 4}));
  EXPECT_EQ(gemm(at::empty({3, 0}), at::empty({0, 4})).abs().sum().item<float>(), 0);
}

}  // namespace
}  // namespace lora::ops
