#include "optim/norm.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <map>

#include "lora/optim/optimizer.h"
#include "optim/pieces.h"

namespace lora::optim {
namespace {

/// One pass. Each piece is summed separately, and the sums are added in order.
double squares_on_cpu(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> dense;  // elements of an expanded tensor share memory
  for (const at::Tensor& tensor : tensors) {
    dense.push_back(tensor.is_non_overlapping_and_dense() ? tensor : tensor.contiguous());
  }
  const std::vector<TensorSlice> pieces = pieces_of(dense);
  std::vector<double> sums(pieces.size());
  for_each_piece(pieces, [&](size_t index) {
    const at::Tensor& tensor = dense[pieces[index].tensor];
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, tensor.scalar_type(), "norm", [&] {
      sums[index] = sum_of_squares(pieces[index].count, tensor.const_data_ptr<scalar_t>() + pieces[index].begin);
    });
  });
  double total = 0.0;
  for (const double sum : sums) {
    total += sum;
  }
  return total;
}

/// At least float32: torch rounds the norm of half-precision gradients to half precision, and float16's would overflow at 65504.
double norm_on_device(const std::vector<at::Tensor>& tensors) {
  std::map<at::ScalarType, std::vector<at::Tensor>> by_type;  // one kernel per dtype
  for (const at::Tensor& tensor : tensors) {
    by_type[tensor.scalar_type()].push_back(tensor);
  }
  std::vector<at::Tensor> norms;
  for (const auto& [type, list] : by_type) {
    for (const at::Tensor& norm : at::_foreach_norm(list, 2, at::promote_types(type, at::kFloat))) {
      norms.push_back(norm.to(tensors.front().device()));
    }
  }
  return at::linalg_vector_norm(at::stack(norms), 2).item<double>();
}

}  // namespace

double norm_of(const std::vector<at::Tensor>& tensors) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> on_cpu;
  std::vector<at::Tensor> elsewhere;
  for (const at::Tensor& tensor : tensors) {
    (tensor.is_cpu() ? on_cpu : elsewhere).push_back(tensor);
  }
  const double norm = std::sqrt(squares_on_cpu(on_cpu));
  return elsewhere.empty() ? norm : std::hypot(norm, norm_on_device(elsewhere));
}

double grad_norm(const std::vector<nn::Parameter>& parameters) {
  std::vector<at::Tensor> gradients;
  for (const nn::Parameter& parameter : parameters) {
    if (parameter.tensor.grad().defined()) {
      gradients.push_back(parameter.tensor.grad());
    }
  }
  return norm_of(gradients);
}

double clip_factor(double norm, double max_norm) {
  // In float32 and by the reciprocal, with the rounding of torch's `max_norm / (total_norm + 1e-6)` on a tensor.
  const float factor = (1.0F / (static_cast<float>(norm) + 1e-6F)) * static_cast<float>(max_norm);
  return max_norm > 0.0 && !(factor >= 1.0F) ? factor : 1.0;  // NaN if the norm is, as in torch
}

}  // namespace lora::optim
