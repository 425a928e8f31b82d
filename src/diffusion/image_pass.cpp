#include "diffusion/image_pass.h"

#include <ATen/core/Tensor.h>

#include "lora/ops/dropout.h"

namespace lora::diffusion {

nn::Pass ImagePass::places(int64_t count) const {
  nn::Pass rows = images_;
  if (images_.training()) {
    Tensor& keys = (*keys_)[count];
    if (!keys.defined()) {
      keys = ops::place_keys(images_.row_keys_T, count);
    }
    rows.row_keys_T = keys;
  }
  return rows;
}

ImagePass ImagePass::with(const nn::Pass& images) const {
  ImagePass other = *this;
  other.images_ = images;
  return other;
}

}  // namespace lora::diffusion
