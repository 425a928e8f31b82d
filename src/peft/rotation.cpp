#include "peft/rotation.h"

#include <ATen/ATen.h>

#include <cmath>

namespace lora::peft {

Tensor skew_symmetric(const Tensor& triangles) {
  const int64_t blocks = triangles.size(0);
  const auto size = static_cast<int64_t>(std::llround((1 + std::sqrt(1 + 8.0 * static_cast<double>(triangles.size(1)))) / 2));
  const Tensor places = at::triu_indices(size, size, 1, triangles.options().dtype(at::kLong));
  const Tensor upper = at::zeros({blocks, size * size}, triangles.options())
                           .index_copy(1, places[0] * size + places[1], triangles)
                           .view({blocks, size, size});
  return upper - upper.transpose(1, 2);
}

Tensor cayley(const Tensor& Q_NBB) {
  const Tensor units = at::eye(Q_NBB.size(1), Q_NBB.options()).expand_as(Q_NBB);
  return at::linalg_solve(units + Q_NBB, units - Q_NBB, /*left=*/false);
}

Tensor rotated(const Tensor& x_TI, const Tensor& R_NBB) {
  const int64_t size = R_NBB.size(1);
  const int64_t blocks = x_TI.size(1) / size;
  if (R_NBB.size(0) == 1) {
    return x_TI.reshape({-1, size}).mm(R_NBB[0]).view(x_TI.sizes());
  }
  const Tensor x_NTB = x_TI.view({x_TI.size(0), blocks, size}).transpose(0, 1);
  return x_NTB.bmm(R_NBB).transpose(0, 1).reshape(x_TI.sizes());
}

int64_t divisor_next_to(int64_t requested, int64_t dimension) {
  if (requested >= dimension) {
    return dimension;
  }
  int64_t higher = requested, lower = requested;
  while (dimension % higher != 0) {
    ++higher;
  }
  while (dimension % lower != 0) {
    --lower;
  }
  return requested - lower <= higher - requested ? lower : higher;
}

}  // namespace lora::peft
