#include "lora/nn/low_rank.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <mutex>

#include "lora/ops/dora_linear.h"

namespace lora::nn {

Tensor RowNorms::of(const Tensor& W_OI, const Tensor& A_RI, const Tensor& B_OR, double scale) const {
  static std::mutex cache_mutex;  // passes may run side by side
  const bool trains = at::GradMode::is_enabled();
  const at::NoGradGuard no_grad;
  std::unique_lock lock(cache_mutex);
  if (!base_O_.defined() || base_version_ != W_OI._version()) {
    base_O_ = ops::row_norms(W_OI, A_RI.scalar_type());
    base_version_ = W_OI._version();
    sum_O_ = Tensor();
  }
  if (trains) {
    // Not every optimiser's kernel increments the version counter of what it writes.
    sum_O_ = Tensor();
    const Tensor base_O = base_O_;
    lock.unlock();
    return ops::adapted_row_norms(W_OI, base_O, A_RI, B_OR, scale);
  }
  const uint32_t version = A_RI._version() + B_OR._version();
  if (!sum_O_.defined() || sum_version_ != version) {
    sum_O_ = ops::adapted_row_norms(W_OI, base_O_, A_RI, B_OR, scale);
    sum_version_ = version;
  }
  return sum_O_;
}

}  // namespace lora::nn
