#include "ops/block_product.h"

#include <ATen/native/CPUBlas.h>
#include <c10/util/Exception.h>

#include <vector>

#include "ops/cpu/attention_tiles.h"

namespace lora::ops::cpu {

template <>
void block_product(int64_t M, int64_t N, int64_t K, const float* a, int64_t a_stride, const float* b, float* c, bool add) {
  at::native::cpublas::brgemm(M, N, K, a_stride, N, N, add, a, b, c, /*is_vnni=*/false);
}

template <>
void block_product(int64_t M, int64_t N, int64_t K, const BFloat16* a, int64_t a_stride, const BFloat16* b, float* c, bool add) {
  at::native::cpublas::brgemm(M, N, K, a_stride, N, N, add, reinterpret_cast<const at::BFloat16*>(a),
                              reinterpret_cast<const at::BFloat16*>(b), c, /*is_vnni=*/true);
}

void end_block_products() {
  at::native::cpublas::brgemm_release();
}

bool multiplies_bfloat16() {
  static const bool works = [] {
    const std::vector<BFloat16> zeros(kTile * kTile);
    std::vector<float> product(kTile * kTile);
    try {
      block_product(kTile, kTile, kTile, zeros.data(), kTile, zeros.data(), product.data(), false);
      end_block_products();
      return true;
    } catch (const c10::Error&) {  // LibTorch's kernel throws if not
      return false;
    }
  }();
  return works;
}

}  // namespace lora::ops::cpu
