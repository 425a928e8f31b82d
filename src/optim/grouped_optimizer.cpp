#include "optim/grouped_optimizer.h"

#include <ATen/core/grad_mode.h>

namespace lora::optim {

void GroupedOptimizer::update(double learning_rate, double gradient_scale) {
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < groups_.size(); ++i) {
    if (const Updates updates = updates_of(groups_[i]); !updates.empty()) {
      update_group(i, updates, learning_rate * groups_[i].rate_factor, gradient_scale);
      memory_->release();
    }
  }
}

}  // namespace lora::optim
