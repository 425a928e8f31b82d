#include "lora/nn/row_norms.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <mutex>

namespace lora::nn {

namespace {

std::mutex& norms_mutex() {
  static std::mutex mutex;  // passes may run side by side
  return mutex;
}

}  // namespace

void RowNorms::update_base(const std::shared_ptr<const ops::LinearWeight>& weight, at::ScalarType dtype) const {
  const uint64_t base = weight_changes().base;
  if (weight_.lock() != weight || changes_.base != base) {
    weight_ = weight;
    base_O_ = weight->row_norms(dtype);
    sum_O_ = Tensor();
    changes_.base = base;
  }
}

Tensor RowNorms::computed(const std::shared_ptr<const ops::LinearWeight>& weight, const Tensor& A_RI, const Tensor& B_OR,
                          double scale) const {
  const at::NoGradGuard no_grad;
  std::unique_lock lock(norms_mutex());
  update_base(weight, A_RI.scalar_type());
  const Tensor base_O = base_O_;
  lock.unlock();
  return ops::adapted_row_norms(*weight, base_O, A_RI, B_OR, scale);
}

Tensor RowNorms::kept(const std::shared_ptr<const ops::LinearWeight>& weight, const Tensor& A_RI, const Tensor& B_OR, double scale) const {
  const at::NoGradGuard no_grad;
  const std::lock_guard lock(norms_mutex());
  update_base(weight, A_RI.scalar_type());
  const uint64_t trained = weight_changes().trained;
  if (!sum_O_.defined() || changes_.trained != trained || scale_ != scale) {
    sum_O_ = ops::adapted_row_norms(*weight, base_O_, A_RI, B_OR, scale);
    changes_.trained = trained;
    scale_ = scale;
  }
  return sum_O_;
}

}  // namespace lora::nn
