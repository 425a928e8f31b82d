#include "io/torch_dtype.h"

#include <array>

#include "lora/io/dtype_name.h"

namespace lora::io {

namespace {

struct DtypePair {
  Dtype dtype;
  at::ScalarType torch;
};
constexpr std::array<DtypePair, 16> kTorchDtypes{{{Dtype::kBool, at::kBool},
                                                  {Dtype::kU8, at::kByte},
                                                  {Dtype::kI8, at::kChar},
                                                  {Dtype::kF8E5M2, at::kFloat8_e5m2},
                                                  {Dtype::kF8E4M3, at::kFloat8_e4m3fn},
                                                  {Dtype::kF8E8M0, at::kFloat8_e8m0fnu},
                                                  {Dtype::kI16, at::kShort},
                                                  {Dtype::kU16, at::kUInt16},
                                                  {Dtype::kF16, at::kHalf},
                                                  {Dtype::kBF16, at::kBFloat16},
                                                  {Dtype::kI32, at::kInt},
                                                  {Dtype::kU32, at::kUInt32},
                                                  {Dtype::kF32, at::kFloat},
                                                  {Dtype::kF64, at::kDouble},
                                                  {Dtype::kI64, at::kLong},
                                                  {Dtype::kU64, at::kUInt64}}};

}  // namespace

at::ScalarType torch_dtype(Dtype dtype) {
  for (const DtypePair& pair : kTorchDtypes) {
    if (pair.dtype == dtype) {
      return pair.torch;
    }
  }
  return at::ScalarType::Undefined;
}

std::optional<Dtype> file_dtype(at::ScalarType torch) {
  for (const DtypePair& pair : kTorchDtypes) {
    if (pair.torch == torch) {
      return pair.dtype;
    }
  }
  return std::nullopt;
}

std::string dtype_name(at::ScalarType dtype) {
  switch (dtype) {
    case at::kBFloat16:
      return "bfloat16";
    case at::kHalf:
      return "float16";
    case at::kFloat:
      return "float32";
    case at::kDouble:
      return "float64";
    default:
      return c10::toString(dtype);
  }
}

}  // namespace lora::io
