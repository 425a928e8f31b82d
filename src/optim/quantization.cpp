#include "optim/quantization.h"

#include <ATen/ATen.h>

namespace lora::optim {

namespace {

template <size_t N>
at::Tensor on_device(const std::array<float, N>& numbers, at::Device device) {
  return at::tensor(at::ArrayRef<float>(numbers)).to(device);
}

/// [n] -> [blocks, kQuantizationBlock], padded with zeros.
at::Tensor in_blocks(const at::Tensor& values) {
  const int64_t missing = (kQuantizationBlock - values.numel() % kQuantizationBlock) % kQuantizationBlock;
  return at::constant_pad_nd(values, {0, missing}).view({-1, kQuantizationBlock});
}

}  // namespace

at::Tensor dequantize_blockwise(const at::Tensor& codes, const at::Tensor& absmax, const QuantizationMap& map) {
  const at::Tensor values = on_device(map.values, codes.device()).index_select(0, codes.to(at::kLong));
  return (in_blocks(values) * absmax.unsqueeze(1)).flatten().narrow(0, 0, codes.numel());
}

void quantize_blockwise(const at::Tensor& values, const QuantizationMap& map, const at::Tensor& codes, const at::Tensor& absmax) {
  const at::Tensor blocks = in_blocks(values);
  absmax.copy_(blocks.abs().amax(1));
  const at::Tensor scaled = blocks * absmax.clamp_min(1e-38).reciprocal().unsqueeze(1);
  codes.copy_(at::bucketize(scaled, on_device(map.midpoints, values.device())).flatten().narrow(0, 0, codes.numel()));
}

}  // namespace lora::optim
