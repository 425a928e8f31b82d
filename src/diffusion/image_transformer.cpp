// N images, H and W their sizes, T pixels of all of them, C channels, S positions of all texts, D channels of the text.
#include "diffusion/image_transformer.h"

#include <ATen/ATen.h>

namespace lora::diffusion {

namespace {

constexpr double kImageNormEps = 1e-6;

}  // namespace

class ImageTransformer::Projection {
 public:
  Projection(const std::string& name, int64_t channels, bool linear, io::WeightSource& source, const at::TensorOptions& options) {
    if (linear) {
      linear_ = std::make_unique<nn::Linear>(name, nn::LinearShape{channels, channels, /*bias=*/true}, source, options);
    } else {
      const nn::Conv2dShape pixels{
          .in_channels = channels, .out_channels = channels, .kernel = 1, .steps = {.stride = 1, .padding = 0}};
      convolution_ = std::make_unique<nn::Conv2d>(name, pixels, source, options);
    }
  }

  Tensor forward(const Tensor& x_TC, const nn::Pass& pixels) const {
    return linear_ != nullptr ? linear_->forward(x_TC, pixels)
                              : convolution_->forward(x_TC.view({x_TC.size(0), 1, 1, x_TC.size(1)}), pixels).flatten(1);
  }
  nn::Host* host() const { return linear_ != nullptr ? static_cast<nn::Host*>(linear_.get()) : convolution_.get(); }
  nn::Kept kept() const { return linear_ != nullptr ? nn::kept_by_project({linear_.get()}) : convolution_->kept(); }

 private:
  std::unique_ptr<nn::Linear> linear_;
  std::unique_ptr<nn::Conv2d> convolution_;
};

ImageTransformer::ImageTransformer(const std::string& name, const ImageTransformerShape& shape, io::WeightSource& source,
                                   const at::TensorOptions& options) {
  const int64_t channels = shape.block.channels;
  const ops::GroupNormOptions norm{shape.num_groups, kImageNormEps};
  norm_ = std::make_unique<nn::GroupNorm>(name + ".norm", channels, norm, source, options);
  in_ = std::make_shared<Projection>(name + ".proj_in", channels, shape.linear_projection, source, options);
  for (int64_t i = 0; i < shape.num_blocks; ++i) {
    blocks_.push_back(
        std::make_unique<TransformerBlock>(name + ".transformer_blocks." + std::to_string(i), shape.block, source, options));
  }
  out_ = std::make_shared<Projection>(name + ".proj_out", channels, shape.linear_projection, source, options);
}

Tensor ImageTransformer::forward(const Tensor& x_NHWC, const Tensor& text_SD, const ImagePass& pass) const {
  const nn::Pass pixels = pass.places(x_NHWC.size(1) * x_NHWC.size(2));
  const int64_t images = x_NHWC.size(0);
  Tensor x_TC = in_->forward(norm_->forward(x_NHWC).flatten(0, 2), pixels);
  for (const std::unique_ptr<TransformerBlock>& block : blocks_) {
    const auto run = [&block = *block, images, pass](const std::vector<Tensor>& inputs, const nn::Pass& own) {
      return block.forward(inputs[0], inputs[1], images, pass.with(own));
    };
    x_TC = nn::recomputed({x_TC, text_SD}, pass.images(), nn::Recompute::kLayers, run);
  }
  return x_NHWC + out_->forward(x_TC, pixels).view(x_NHWC.sizes());
}

std::vector<nn::Host*> ImageTransformer::hosts() const {
  std::vector<nn::Host*> all{norm_.get(), in_->host()};
  for (const std::unique_ptr<TransformerBlock>& block : blocks_) {
    const std::vector<nn::Host*> own = block->hosts();
    all.insert(all.end(), own.begin(), own.end());
  }
  all.push_back(out_->host());
  return all;
}

nn::Kept ImageTransformer::kept(nn::Recompute recompute) const {
  nn::Kept kept = norm_->kept() + in_->kept() + out_->kept();
  for (const std::unique_ptr<TransformerBlock>& block : blocks_) {
    kept += recompute >= nn::Recompute::kLayers ? nn::Kept{block->channels(), 0} : block->kept(recompute);
  }
  return kept;
}

nn::Kept ImageTransformer::working(nn::Recompute recompute) const {
  const TransformerBlock& block = *blocks_.front();
  return recompute >= nn::Recompute::kLayers ? block.kept(nn::Recompute::kNothing) + block.feed_forward_gradients() : block.working();
}

nn::Kept ImageTransformer::kept_of_text() const {
  return static_cast<int64_t>(blocks_.size()) * blocks_.front()->kept_of_text();
}

}  // namespace lora::diffusion
