#include "lora/nn/attachment.h"

#include <ATen/ATen.h>

#include <stdexcept>

#include "lora/nn/norm.h"
#include "lora/ops/lora_linear.h"

namespace lora::nn {

Tensor ProjectionCall::base() const {
  return ops::linear(x_TI, weight, bias_O);
}

Tensor BlockOutput::sum() const {
  return norm == nullptr ? residual_TD + block_TD : norm->forward(residual_TD + block_TD);
}

Kept Attachment::kept(int64_t) const {
  return {};
}

Tensor Attachment::project(const ProjectionCall&, const Tensor&) const {
  throw std::logic_error("this kind of attachment does not take part in a projection");
}

Tensor ConvolutionCall::convolved(const Tensor& image_NHWI, const std::optional<Tensor>& bias) const {
  return weight->requires_grad() ? ops::conv2d(image_NHWI, weight->tensor(), bias, steps)
                                 : ops::frozen_conv2d(image_NHWI, weight->tensor(), bias, steps);
}

Tensor Attachment::convolve(const ConvolutionCall&, const Tensor&) const {
  throw std::logic_error("this kind of attachment does not take part in a convolution");
}

Tensor Attachment::look_up(const LookupCall&, const Tensor&) const {
  throw std::logic_error("this kind of attachment does not take part in a look-up");
}

Tensor Attachment::tap(const BlockOutput&, const Pass&) const {
  throw std::logic_error("this kind of attachment does not take part in a tap");
}

KeyPrefix Attachment::key_prefix(const Pass&) const {
  throw std::logic_error("this kind of attachment does not take part in attention");
}

}  // namespace lora::nn
