#include "ops/gemm.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <cstdlib>
#include <string>

#include "lora/ops/compiled_products.h"

#ifdef LORA_LIBTORCH_ONEDNN
namespace at::native {
/// What at::mm calls for bfloat16: result = beta · result + alpha · mat1 mat2. LibTorch exports it but installs no header for it
/// (third_party/LibTorch.cmake checks whether it exists).
void mkldnn_matmul(const Tensor& mat1, const Tensor& mat2, const Tensor& result, float beta, float alpha);
}  // namespace at::native
#endif

namespace lora::ops {

using at::Tensor;

namespace {

/// For products smaller than this, finding oneDNN's kernel takes longer than the product itself.
constexpr int64_t kLeastWork = int64_t{1} << 18;

bool onednn_is_faster() {
#if defined(LORA_LIBTORCH_ONEDNN) && defined(__x86_64__)
  static const bool faster = __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_is("intel") == 0;
  return faster;
#else
  return false;
#endif
}

#ifdef LORA_LIBTORCH_ONEDNN
/// oneDNN accepts matrices with contiguous rows or columns.
bool is_plain_matrix(const Tensor& x) {
  return x.stride(0) == 1 || x.stride(1) == 1;
}
#endif

}  // namespace

bool compiles_products(at::ScalarType dtype) {
  return dtype == at::kFloat ? onednn_is_faster() : dtype == at::kBFloat16 || dtype == at::kHalf;
}

void cache_compiled_products(int64_t most) {
  // oneDNN reads it when it compiles its first product; LibTorch does not export the function that would set it.
  setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", std::to_string(most).c_str(), /*overwrite=*/0);
}

bool onednn_applies(const Tensor& a_MK, int64_t columns) {
  return onednn_is_faster() && a_MK.is_cpu() && a_MK.scalar_type() == at::kFloat && a_MK.size(0) > 1 &&
         a_MK.size(0) * a_MK.size(1) * columns >= kLeastWork;
}

Tensor gemm(const Tensor& a_MK, const Tensor& b_KN) {
  if (!onednn_applies(a_MK, b_KN.size(1))) {
    return at::mm(a_MK, b_KN);
  }
  const Tensor c_MN = at::empty({a_MK.size(0), b_KN.size(1)}, a_MK.options());
  gemm_(c_MN, a_MK, b_KN, 0);
  return c_MN;
}

void gemm_(const Tensor& c_MN, const Tensor& a_MK, const Tensor& b_KN, double beta, double alpha) {
#ifdef LORA_LIBTORCH_ONEDNN
  if (onednn_applies(a_MK, b_KN.size(1)) && b_KN.scalar_type() == at::kFloat && c_MN.scalar_type() == at::kFloat && c_MN.stride(1) == 1 &&
      is_plain_matrix(a_MK) && is_plain_matrix(b_KN)) {
    TORCH_CHECK(a_MK.size(1) == b_KN.size(0) && c_MN.size(0) == a_MK.size(0) && c_MN.size(1) == b_KN.size(1),
                "gemm: the shapes do not match: ", a_MK.sizes(), b_KN.sizes(), c_MN.sizes());
    RECORD_FUNCTION("lora::gemm", std::vector<c10::IValue>({a_MK, b_KN}));
    at::native::mkldnn_matmul(a_MK, b_KN, c_MN, static_cast<float>(beta), static_cast<float>(alpha));
    return;
  }
#endif
  Tensor c = c_MN;
  if (beta == 0 && alpha == 1) {
    at::mm_out(c, a_MK, b_KN);
  } else {
    c.addmm_(a_MK, b_KN, beta, alpha);
  }
}

}  // namespace lora::ops
