#include "lora/nn/tap.h"

#include <ATen/ATen.h>

namespace lora::nn {

Tensor Tap::forward(const Tensor& x_TD, const Pass& pass) const {
  Tensor y_TD = x_TD;
  for (const std::unique_ptr<Attachment>& attachment : attachments()) {
    if (attachment->enabled) {
      y_TD = attachment->transform(y_TD, pass);
    }
  }
  return y_TD;
}

Kept Tap::kept() const {
  Kept all;
  for (const std::unique_ptr<Attachment>& attachment : attachments()) {
    if (attachment->enabled) {
      all += attachment->kept(/*out_features=*/0);
    }
  }
  return all;
}

}  // namespace lora::nn
