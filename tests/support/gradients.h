#pragma once
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <functional>
#include <string>
#include <vector>

#include "support/tensors.h"

namespace lora::test {

/// A differentiable function to a tensor of any shape.
using Differentiable = std::function<Tensor(const std::vector<Tensor>&)>;

/// Σ y · probe: a scalar whose gradient sees every element of y.
inline Tensor probed(const Tensor& y) {
  return (y.to(at::kDouble) * normal(y.sizes().vec(), 77)).sum();
}

/// The gradients of probed(f(inputs)) for the inputs that require grad; undefined tensors for the others.
inline std::vector<Tensor> gradients(const Differentiable& f, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> leaves;
  for (const Tensor& input : inputs) {
    leaves.push_back(input.detach().clone().requires_grad_(input.requires_grad()));
  }
  probed(f(leaves)).backward();
  std::vector<Tensor> result;
  for (const Tensor& leaf : leaves) {
    result.push_back(leaf.grad());
  }
  return result;
}

/// Autograd's gradients of a float64 function equal central differences.
inline void expect_gradients(const Differentiable& f, const std::vector<Tensor>& inputs, double step, double tolerance,
                             const std::string& what = "") {
  const std::vector<Tensor> analytic = gradients(f, inputs);
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].requires_grad()) {
      EXPECT_FALSE(analytic[i].defined()) << what << " input " << i;
      continue;
    }
    std::vector<Tensor> moved;
    for (const Tensor& input : inputs) {
      moved.push_back(input.detach().clone());
    }
    const Tensor numeric = at::zeros_like(moved[i]);
    for (int64_t k = 0; k < numeric.numel(); ++k) {
      double& element = moved[i].view(-1).data_ptr<double>()[k];
      const double value = element;
      element = value + step;
      const double above = probed(f(moved)).item<double>();
      element = value - step;
      const double below = probed(f(moved)).item<double>();
      element = value;
      numeric.view(-1).data_ptr<double>()[k] = (above - below) / (2 * step);
    }
    expect_close(analytic[i], numeric, tolerance, what + " input " + std::to_string(i));
  }
}

/// Values and gradients of f equal those of the reference, each within `tolerance` of the largest magnitude.
inline void expect_same_as_reference(const Differentiable& f, const Differentiable& reference, const std::vector<Tensor>& inputs,
                                     double tolerance, const std::string& what = "") {
  const Tensor actual = f(inputs);
  const Tensor expected = reference(inputs);
  EXPECT_EQ(actual.scalar_type(), expected.scalar_type()) << what;
  expect_close(actual, expected, tolerance, what + " value");
  const std::vector<Tensor> actual_gradients = gradients(f, inputs);
  const std::vector<Tensor> expected_gradients = gradients(reference, inputs);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].requires_grad()) {
      expect_close(actual_gradients[i], expected_gradients[i], tolerance, what + " gradient " + std::to_string(i));
    }
  }
}

}  // namespace lora::test
