#include "ops/low_rank_products.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "ops/cpu/launch.h"
#include "ops/gemm.h"

namespace lora::ops {

namespace {

/// Whether activations x are in a half type and low-rank matrices in float32, on the CPU: the case of the kernels.
bool is_mixed(const Tensor& x, at::ScalarType low) {
  return x.is_cpu() && low == at::kFloat && (x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf);
}

/// Calls run.operator()<S>() with the half type of x.
template <typename Run>
void with_half(const Tensor& x, const Run& run) {
  if (x.scalar_type() == at::kHalf) {
    run.template operator()<cpu::Half>();
  } else {
    run.template operator()<cpu::BFloat16>();
  }
}

}  // namespace

void add_product_(const Tensor& y_TN, const Tensor& low_TR, const Tensor& B_RN, double scale) {
  if (y_TN.scalar_type() == low_TR.scalar_type()) {
    gemm_(y_TN, low_TR, B_RN, 1, scale);
    return;
  }
  if (!is_mixed(y_TN, low_TR.scalar_type()) || !y_TN.is_contiguous()) {
    y_TN.copy_(y_TN.to(low_TR.scalar_type()).addmm_(low_TR, B_RN, 1, scale));
    return;
  }
  const Tensor scaled_TR = low_TR.mul(scale), rows_RN = B_RN.contiguous();
  const int64_t rank = scaled_TR.size(1), n = y_TN.size(1);
  with_half(y_TN, [&]<typename S>() {
    cpu::in_parallel(y_TN.size(0), rank * n / 4, [&](int64_t begin, int64_t end) {
      cpu::add_low_rank(cpu::pointer<S>(y_TN) + begin * n, scaled_TR.data_ptr<float>() + begin * rank, rows_RN.data_ptr<float>(),
                        end - begin, rank, n);
    });
  });
}

Tensor low_product(const Tensor& x_TN, const Tensor& M_NR) {
  if (!is_mixed(x_TN, M_NR.scalar_type())) {
    return gemm(x_TN.to(M_NR.scalar_type()), M_NR);
  }
  const int64_t n = x_TN.size(1), rank = M_NR.size(1);
  const Tensor x = x_TN.contiguous(), padded = at::zeros({n, cpu::padded_rank(rank)}, M_NR.options());
  padded.narrow(1, 0, rank).copy_(M_NR);
  Tensor low_TR = at::empty({x.size(0), rank}, M_NR.options());
  with_half(x, [&]<typename S>() {
    cpu::in_parallel(x.size(0), rank * n / 4, [&](int64_t begin, int64_t end) {
      cpu::low_rank_product(cpu::pointer<S>(x) + begin * n, padded.data_ptr<float>(), low_TR.data_ptr<float>() + begin * rank, end - begin,
                            n, rank);
    });
  });
  return low_TR;
}

Tensor outer_product(const Tensor& low_TR, const Tensor& x_TN) {
  if (!is_mixed(x_TN, low_TR.scalar_type())) {
    return gemm(low_TR.t(), x_TN.to(low_TR.scalar_type()));
  }
  constexpr int64_t kColumns = 32;
  const Tensor low = low_TR.contiguous(), x = x_TN.contiguous();
  const int64_t rank = low.size(1), n = x.size(1), pieces = (n + kColumns - 1) / kColumns;
  Tensor out_RN = at::empty({rank, n}, low.options());
  with_half(x, [&]<typename S>() {
    cpu::in_parallel(pieces, x.size(0) * kColumns * rank / 4, [&](int64_t begin, int64_t end) {
      cpu::low_rank_outer(low.data_ptr<float>(), cpu::pointer<S>(x), out_RN.data_ptr<float>(), x.size(0), rank, n, begin * kColumns,
                          std::min(end * kColumns, n));
    });
  });
  return out_RN;
}

}  // namespace lora::ops
