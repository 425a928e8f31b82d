#include "lora/nn/tap.h"

#include <ATen/ATen.h>

namespace lora::nn {

Tensor Tap::forward(const BlockOutput& output, const Pass& pass) const {
  BlockOutput own = output;
  bool is_sum = false;
  for (const std::unique_ptr<Attachment>& attachment : attachments()) {
    if (attachment->enabled) {
      own.block_TD = attachment->tap(own, pass);
      is_sum = is_sum || attachment->replaces_sum();
    }
  }
  return is_sum ? own.block_TD : own.sum();
}

Kept Tap::kept() const {
  Kept kept;
  for (const std::unique_ptr<Attachment>& attachment : attachments()) {
    if (attachment->enabled) {
      kept += attachment->kept(dim_);
    }
  }
  return kept;
}

}  // namespace lora::nn
