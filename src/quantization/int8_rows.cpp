#include "lora/quantization/int8_rows.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "lora/base/error.h"
#include "quantization/cpu/kernels.h"
#include "quantization/elements.h"

namespace lora::quantization {

Int8Rows::Int8Rows(Tensor codes, Tensor scales, at::ScalarType value_dtype, const std::string& where)
    : codes_(std::move(codes)), scales_(std::move(scales)), value_dtype_(value_dtype) {
  if (!codes_.defined() || codes_.scalar_type() != at::kChar || codes_.dim() != 2 || codes_.numel() == 0) {
    model_error(where, "codes: expected a matrix of int8");
  }
  if (!scales_.defined() || scales_.scalar_type() != at::kFloat || scales_.numel() != codes_.size(0)) {
    model_error(where, "SCB: expected float32 with " + std::to_string(codes_.size(0)) + " elements, one for each row");
  }
  if (!is_value_dtype(value_dtype_)) {
    model_error(where, std::string("dtype: found ") + c10::toString(value_dtype_) + ", expected float32, bfloat16 or float16");
  }
  codes_ = codes_.contiguous();
  scales_ = scales_.contiguous().view({-1});
}

void Int8Rows::decode(const io::Tile& tile, at::ScalarType dtype, void* out, int64_t stride) const {
  const auto* codes = codes_.const_data_ptr<int8_t>();
  const auto* scales = scales_.const_data_ptr<float>();
  const cpu::Simd simd = cpu::best_simd();
  with_elements(value_dtype_, dtype, [&]<typename V, typename S>() {
    for (int64_t row = tile.row_begin; row < tile.row_end; ++row) {
      const int8_t* const from = codes + row * in_features() + tile.column_begin;
      cpu::fetch(from + std::min(cpu::kRowsAhead, out_features() - 1 - row) * in_features(), tile.columns());
      cpu::decode_int8<V, S>(from, tile.columns(), scales[row], static_cast<S*>(out) + (row - tile.row_begin) * stride, simd);
    }
  });
}

void Int8Rows::multiply_rows(const float* x_TI, int64_t tokens, int64_t row_begin, int64_t row_end, float* y, int64_t stride) const {
  const auto* codes = codes_.const_data_ptr<int8_t>();
  const auto* scales = scales_.const_data_ptr<float>();
  const cpu::Simd simd = cpu::best_simd();
  std::vector<float> sums(static_cast<size_t>(tokens));
  for (int64_t row = row_begin; row < row_end; ++row) {
    cpu::multiply_int8(codes + row * in_features(), in_features(), x_TI, tokens, simd, sums.data());
    for (int64_t t = 0; t < tokens; ++t) {
      y[t * stride + row - row_begin] = sums[static_cast<size_t>(t)] * scales[row] * cpu::kInt8Unit;
    }
  }
}

std::optional<io::BlockCodes> Int8Rows::block_codes() const {
  return io::BlockCodes{.codes = codes_, .table = {}, .scales = scales_, .block_size = in_features(), .unit = cpu::kInt8Unit};
}

Tensor Int8Rows::decoded(const io::Tile& tile, at::ScalarType dtype) const {
  if (device().is_cpu()) {
    return PackedMatrix::decoded(tile, dtype);
  }
  const Tensor codes = codes_.slice(0, tile.row_begin, tile.row_end).slice(1, tile.column_begin, tile.column_end);
  const Tensor values = codes.to(at::kFloat).mul_(scales_.slice(0, tile.row_begin, tile.row_end).unsqueeze(1)).mul_(cpu::kInt8Unit);
  return values.to(value_dtype_).to(dtype);
}

std::shared_ptr<const io::PackedMatrix> Int8Rows::to(at::Device device) const {
  return std::make_shared<const Int8Rows>(codes_.to(device), scales_.to(device), value_dtype_, "int8");
}

std::map<std::string, Tensor> Int8Rows::tensors() const {
  return {{"codes", codes_}, {"scales", scales_}};
}

}  // namespace lora::quantization
