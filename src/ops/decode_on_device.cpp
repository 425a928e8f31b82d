#include "lora/ops/decode_on_device.h"

#include "ops/cuda_kernels.h"
#include "ops/cuda_module.h"

namespace lora::ops {

namespace {

template <typename Codes>
std::optional<Tensor> decoded_by_kernel(at::Device device, const Codes& codes, const io::Tile& tile, at::ScalarType dtype) {
  const CudaKernels* const kernels = cuda_kernels(device);
  return kernels == nullptr ? std::nullopt : std::optional(decode_cuda(*kernels, codes, tile, dtype));
}

}  // namespace

bool decodes_on(at::Device device) {
  return cuda_kernels(device) != nullptr;
}

std::optional<Tensor> decoded_on_device(const GridCodes& codes, const io::Tile& tile, at::ScalarType dtype) {
  return decoded_by_kernel(codes.codes.device(), codes, tile, dtype);
}

std::optional<Tensor> decoded_on_device(const GgufCodes& codes, const io::Tile& tile, at::ScalarType dtype) {
  return decoded_by_kernel(codes.blocks.device(), codes, tile, dtype);
}

}  // namespace lora::ops
