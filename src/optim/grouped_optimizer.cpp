#include "optim/grouped_optimizer.h"

#include <ATen/core/grad_mode.h>

namespace lora::optim {

std::vector<io::NamedTensor> GroupedOptimizer::state() const {
  std::vector<io::NamedTensor> tensors = own_state();
  if (wide_ != nullptr) {
    wide_->add_state(tensors);
  }
  return tensors;
}

void GroupedOptimizer::update(double learning_rate, double gradient_scale) {
  const at::NoGradGuard no_grad;
  if (wide_ != nullptr) {
    wide_->begin_step();
  }
  for (size_t i = 0; i < groups_.size(); ++i) {
    if (wide_ != nullptr) {
      wide_->load(i);
    }
    if (const Updates updates = updates_of(groups_[i]); !updates.empty()) {
      update_group(i, updates, learning_rate * groups_[i].rate_factor, gradient_scale);
      if (wide_ != nullptr) {
        wide_->store(i);
      }
      memory_->release();
    }
  }
}

}  // namespace lora::optim
