#pragma once
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/single_thread.h"

namespace lora::test {

using at::Tensor;

/// Standard normal numbers, the same for the same seed, rounded to `dtype` (so that a float64 test and a float32 one
/// begin with the same values).
inline Tensor normal(const std::vector<int64_t>& shape, uint64_t seed, at::ScalarType dtype = at::kDouble) {
  return at::randn(shape, at::detail::createCPUGenerator(seed), at::TensorOptions(at::kDouble)).to(at::kFloat).to(dtype);
}

/// Same type, shape and values, bit by bit (a NaN equals nothing).
inline void expect_equal(const Tensor& actual, const Tensor& expected, const std::string& what = "") {
  ASSERT_TRUE(actual.defined() && expected.defined()) << what;
  ASSERT_EQ(actual.scalar_type(), expected.scalar_type()) << what;
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  EXPECT_TRUE(at::equal(actual, expected)) << what << ": largest difference "
                                           << (actual.to(at::kDouble) - expected.to(at::kDouble)).abs().max().item<double>();
}

/// Every element within `tolerance` of the expected one's.
inline void expect_near(const Tensor& actual, const Tensor& expected, double tolerance, const std::string& what = "") {
  ASSERT_TRUE(actual.defined() && expected.defined()) << what;
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  if (expected.numel() == 0) {
    return;
  }
  const double difference = (actual.detach().to(at::kDouble) - expected.detach().to(at::kDouble)).abs().max().item<double>();
  EXPECT_LE(difference, tolerance) << what;
}

/// Every element within `tolerance` times the largest magnitude of what is expected.
inline void expect_close(const Tensor& actual, const Tensor& expected, double tolerance, const std::string& what = "") {
  ASSERT_TRUE(expected.defined()) << what;
  const double largest = expected.numel() == 0 ? 0.0 : expected.detach().abs().max().item<double>();
  expect_near(actual, expected, tolerance * largest, what);
}

/// A leaf that requires grad, with its own memory.
inline Tensor trained(const Tensor& tensor) {
  return tensor.detach().clone().requires_grad_(true);
}

}  // namespace lora::test
