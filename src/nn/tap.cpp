#include "lora/nn/tap.h"

#include <ATen/ATen.h>

namespace lora::nn {

Tensor Tap::forward(const Tensor& x_TD, const Pass& pass) const {
  Tensor y_TD = x_TD;
  for (const std::unique_ptr<Attachment>& attachment : attachments()) {
    if (attachment->enabled) {
      y_TD = attachment->tap(y_TD, pass);
    }
  }
  return y_TD;
}

int64_t EmbeddingTap::virtual_tokens() const {
  int64_t count = 0;
  for (const std::unique_ptr<Attachment>& attachment : attachments()) {
    count += attachment->enabled ? attachment->virtual_tokens() : 0;
  }
  return count;
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
