// N images, H and W their sizes, I inputs, O outputs.
#include "lora/nn/conv2d.h"

#include <ATen/ATen.h>

#include "lora/base/random.h"
#include "lora/nn/linear.h"

namespace lora::nn {

namespace {

std::shared_ptr<const ops::LinearWeight> kernels_of(io::WeightSource& source, const std::string& name, const Conv2dShape& shape,
                                                    const at::TensorOptions& options) {
  const std::vector<int64_t> sizes{shape.out_channels, shape.in_channels, shape.kernel, shape.kernel};
  return std::make_shared<const ops::DenseWeight>(source.get(name + ".weight", sizes, io::WeightRole::kLinear).to(options));
}

}  // namespace

Conv2d::Conv2d(const std::string& name, const Conv2dShape& shape, io::WeightSource& source, const at::TensorOptions& options)
    : MatrixHost(name, kernels_of(source, name, shape, options)), shape_(shape), name_key_(hash_name(name)) {
  if (shape.bias) {
    bias_ = &add_weight("bias", source.get(name + ".bias", {shape.out_channels}, io::WeightRole::kBias).to(options), false);
  }
}

Tensor Conv2d::forward(const Tensor& x_NHWI, const Pass& pass) const {
  if (is_of_pixels()) {
    const Tensor y_TO = project_rows(*this, {x_NHWI.flatten(0, 2), pass, name_key_, matrix_in_use(), bias_in_use()});
    return y_TO.view({x_NHWI.size(0), x_NHWI.size(1), x_NHWI.size(2), shape_.out_channels});
  }
  const ConvolutionCall call{x_NHWI, pass, name_key_, matrix_in_use(), bias_in_use(), shape_.steps};
  Tensor y_NHWO;
  for (const std::unique_ptr<Attachment>& attachment : attachments()) {
    if (attachment->enabled) {
      y_NHWO = attachment->convolve(call, y_NHWO);
    }
  }
  return y_NHWO.defined() ? y_NHWO : call.base();
}

Kept Conv2d::kept(bool is_kept) const {
  Kept kept;
  for (const std::unique_ptr<Attachment>& attachment : attachments()) {
    kept += attachment->enabled ? attachment->kept(shape_.out_channels) : Kept{};
  }
  kept.elements += is_trained() && !is_kept ? shape_.in_channels : 0;
  return kept;
}

}  // namespace lora::nn
