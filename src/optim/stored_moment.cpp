#include "optim/stored_moment.h"

#include <ATen/ATen.h>

#include "optim/quantization.h"

namespace lora::optim {

namespace {

constexpr int64_t kSmallestQuantized = 4096;  // elements; bitsandbytes' min_8bit_size

}  // namespace

StoredMoment make_moment(StateMemory& memory, const at::Tensor& parameter, MomentFormat format) {
  if (format == MomentFormat::kAsParameter) {
    return {memory.zeros_like(parameter, parameter.scalar_type()), {}};
  }
  if (format == MomentFormat::kFloat32 || parameter.numel() < kSmallestQuantized) {
    return {memory.zeros_like(parameter, at::kFloat), {}};
  }
  const int64_t blocks = (parameter.numel() + kQuantizationBlock - 1) / kQuantizationBlock;
  return {memory.zeros_like(parameter, at::kByte), at::zeros({blocks}, parameter.options().dtype(at::kFloat).requires_grad(false))};
}

void add_state(std::vector<io::NamedTensor>& tensors, const std::string& name, const StoredMoment& moment) {
  tensors.push_back({name, moment.values});
  if (moment.quantized()) {
    tensors.push_back({name + "_absmax", moment.absmax});
  }
}

QuantizedMoment codes_at(const StoredMoment& moment, int64_t begin, bool is_signed) {
  return {moment.values.mutable_data_ptr<uint8_t>() + begin, moment.absmax.mutable_data_ptr<float>() + begin / kQuantizationBlock,
          &dynamic_map(is_signed)};
}

at::Tensor in_memory_order(const at::Tensor& dense) {
  return dense.as_strided({dense.numel()}, {1});
}

at::Tensor loaded(const StoredMoment& moment, bool is_signed) {
  const at::Tensor values = in_memory_order(moment.values);
  return moment.quantized() ? dequantize_blockwise(values, moment.absmax, dynamic_map(is_signed)) : values;
}

void store(const StoredMoment& moment, const at::Tensor& values, bool is_signed) {
  if (moment.quantized()) {
    quantize_blockwise(values, dynamic_map(is_signed), in_memory_order(moment.values), moment.absmax);
  }
}

}  // namespace lora::optim
