#include "lora/io/packed_matrix.h"

#include <ATen/ATen.h>

#include <vector>

#include "lora/io/tensor_facts.h"

namespace lora::io {

int64_t PackedMatrix::bytes() const {
  size_t sum = 0;
  for (const auto& [name, tensor] : tensors()) {
    sum += tensor.nbytes();
  }
  return static_cast<int64_t>(sum);
}

bool PackedMatrix::is_finite() const {
  for (const auto& [name, tensor] : tensors()) {
    if (is_plain_float(tensor.scalar_type()) && !at::isfinite(tensor).all().item<bool>()) {
      return false;
    }
  }
  return true;
}

void PackedMatrix::multiply_rows(const float* x_TI, int64_t tokens, int64_t row_begin, int64_t row_end, float* y, int64_t stride) const {
  constexpr int64_t kLanes = 16;  // partial sums, so that the order does not depend on the processor
  const int64_t inputs = in_features();
  std::vector<float> row(static_cast<size_t>(inputs));
  for (int64_t o = row_begin; o < row_end; ++o) {
    decode({o, o + 1, 0, inputs}, at::kFloat, row.data(), inputs);
    for (int64_t t = 0; t < tokens; ++t) {
      const float* const x = x_TI + t * inputs;
      float sums[kLanes] = {};
      int64_t i = 0;
      for (; i + kLanes <= inputs; i += kLanes) {
        for (int64_t lane = 0; lane < kLanes; ++lane) {
          sums[lane] += row[static_cast<size_t>(i + lane)] * x[i + lane];
        }
      }
      float sum = 0;
      for (; i < inputs; ++i) {
        sum += row[static_cast<size_t>(i)] * x[i];
      }
      for (const float lane : sums) {
        sum += lane;
      }
      y[t * stride + o - row_begin] = sum;
    }
  }
}

Tensor PackedMatrix::decoded(const Tile& tile, at::ScalarType dtype) const {
  Tensor values = at::empty({tile.rows(), tile.columns()}, at::TensorOptions(dtype).device(device()));
  decode(tile, dtype, values.mutable_data_ptr(), tile.columns());
  return values;
}

Tensor decoded(const PackedMatrix& matrix, at::ScalarType dtype) {
  return matrix.decoded({0, matrix.out_features(), 0, matrix.in_features()}, dtype);
}

}  // namespace lora::io
