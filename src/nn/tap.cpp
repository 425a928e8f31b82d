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

int64_t EmbeddingTap::virtual_tokens() const {
  int64_t count = 0;
  for (const std::unique_ptr<Attachment>& attachment : attachments()) {
    count += attachment->enabled ? attachment->virtual_tokens() : 0;
  }
  return count;
}

Tensor EmbeddingTap::forward(const Tensor& x_TD, const Pass& pass) const {
  Tensor rows_TD = x_TD;
  for (const std::unique_ptr<Attachment>& attachment : attachments()) {
    if (attachment->enabled) {
      rows_TD = attachment->look_up({pass.batch().tokens().ids_T, nullptr}, rows_TD);
    }
  }
  return rows_TD;
}

}  // namespace lora::nn
