// N images, H and W their sizes, C channels, E channels of the timestep's embedding.
#include "diffusion/resnet_block.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lora::diffusion {

ResnetBlock::ResnetBlock(const std::string& name, const ResnetShape& shape, io::WeightSource& source, const at::TensorOptions& options)
    : shape_(shape), dropout_(name + ".dropout", shape.dropout) {
  const int64_t in = shape.in_channels, out = shape.out_channels;
  const ops::GroupNormOptions norm{shape.num_groups, shape.norm_eps, /*silu=*/true};
  norm1_ = std::make_unique<nn::GroupNorm>(name + ".norm1", in, norm, source, options);
  conv1_ = std::make_unique<nn::Conv2d>(name + ".conv1", nn::Conv2dShape{in, out}, source, options);
  if (shape.time_channels > 0) {
    const nn::LinearShape of_time{shape.time_channels, out, /*bias=*/true};
    time_ = std::make_unique<nn::Linear>(name + ".time_emb_proj", of_time, source, options);
  }
  norm2_ = std::make_unique<nn::GroupNorm>(name + ".norm2", out, norm, source, options);
  conv2_ = std::make_unique<nn::Conv2d>(name + ".conv2", nn::Conv2dShape{out, out}, source, options);
  if (in != out) {
    const nn::Conv2dShape pixels{.in_channels = in, .out_channels = out, .kernel = 1, .steps = {.stride = 1, .padding = 0}};
    shortcut_ = std::make_unique<nn::Conv2d>(name + ".conv_shortcut", pixels, source, options);
  }
}

Tensor ResnetBlock::forward(const Tensor& x_NHWC, const Tensor& time_NE, const ImagePass& pass) const {
  const nn::Pass pixels = pass.places(x_NHWC.size(1) * x_NHWC.size(2));
  Tensor h_NHWC = conv1_->forward(norm1_->forward(x_NHWC), pixels);
  if (time_ != nullptr) {
    h_NHWC = h_NHWC + time_->forward(time_NE, pass.images()).unsqueeze(1).unsqueeze(1);
  }
  Tensor normed_NHWC = norm2_->forward(h_NHWC);
  if (dropout_.active(pixels)) {
    normed_NHWC = dropout_.forward(normed_NHWC.flatten(0, 2), pixels).view(normed_NHWC.sizes());
  }
  const Tensor sum_NHWC = (shortcut_ == nullptr ? x_NHWC : shortcut_->forward(x_NHWC, pixels)) + conv2_->forward(normed_NHWC, pixels);
  return shape_.scale == 1.0 ? sum_NHWC : sum_NHWC / shape_.scale;
}

std::vector<nn::Host*> ResnetBlock::hosts() const {
  std::vector<nn::Host*> all{norm1_.get(), conv1_.get(), time_.get(), norm2_.get(), conv2_.get(), shortcut_.get()};
  std::erase(all, nullptr);
  return all;
}

nn::Kept ResnetBlock::kept() const {
  nn::Kept kept = norm1_->kept() + conv1_->kept() + norm2_->kept() + conv2_->kept();
  return shortcut_ == nullptr ? kept : kept + shortcut_->kept(/*is_kept=*/true);
}

}  // namespace lora::diffusion
