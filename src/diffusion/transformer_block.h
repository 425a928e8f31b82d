#pragma once
#include <string>
#include <vector>

#include "diffusion/image_pass.h"
#include "lora/nn/layer_norm.h"
#include "lora/nn/linear.h"

namespace lora::diffusion {

/// diffusers' Attention: queries from the pixels, keys and values from `states`, which are the pixels themselves or the text.
class BlockAttention {
 public:
  BlockAttention(const std::string& name, int64_t channels, int64_t state_channels, int64_t num_heads, io::WeightSource& source,
                 const at::TensorOptions& options);

  /// Of the pixels to each other.
  Tensor to_pixels(const Tensor& x_TC, int64_t images, const nn::Pass& pixels) const;
  /// Of the pixels to the text.
  Tensor to_text(const Tensor& x_TC, const Tensor& text_SD, int64_t images, const nn::Pass& pixels, const nn::Pass& text) const;

  std::vector<nn::Host*> hosts();
  /// What a pass keeps per pixel: of attention to pixels, or to the text.
  nn::Kept kept_to_pixels() const;
  nn::Kept kept_to_text() const;
  /// What a pass keeps per position of the text.
  nn::Kept kept_of_text() const;

 private:
  Tensor attend(const Tensor& q_TC, const Tensor& k_SC, const Tensor& v_SC, int64_t images, const nn::Pass& pixels) const;
  /// The result, which is also the input of to_out, and one number per head.
  nn::Kept kept_result() const;

  nn::Linear q_, k_, v_, out_;
  int64_t num_heads_;
  double scale_;
};

struct TransformerShape {
  int64_t channels;
  int64_t text_channels;
  int64_t num_heads;
};

/// diffusers' BasicTransformerBlock: attention of pixels to each other, attention to the text, and a feed-forward block with GEGLU, each
/// with a norm before and the sum after. T pixels of N images, C channels, S positions of their texts, D channels of the text.
class TransformerBlock {
 public:
  TransformerBlock(const std::string& name, const TransformerShape& shape, io::WeightSource& source, const at::TensorOptions& options);

  /// @param images whose pixels and texts lie one after the other in x and text.
  Tensor forward(const Tensor& x_TC, const Tensor& text_SD, int64_t images, const ImagePass& pass) const;

  std::vector<nn::Host*> hosts();
  /// What a pass keeps per pixel, and what backward needs in addition: the feed-forward block's projection and its gradient.
  nn::Kept kept(nn::Recompute recompute) const;
  nn::Kept working() const { return {2 * ff_in_.out_features(), 0}; }
  /// The gradients of the feed-forward block's projection and of its gated half, while everything that the block keeps is there.
  nn::Kept feed_forward_gradients() const { return {ff_in_.out_features() + ff_out_.in_features(), 0}; }
  /// What a pass keeps per position of the text.
  nn::Kept kept_of_text() const { return to_text_.kept_of_text(); }
  int64_t channels() const { return norm1_.dim(); }

 private:
  Tensor feed_forward(const Tensor& x_TC, const nn::Pass& pixels) const;

  nn::LayerNorm norm1_;
  BlockAttention to_pixels_;
  nn::LayerNorm norm2_;
  BlockAttention to_text_;
  nn::LayerNorm norm3_;
  nn::Linear ff_in_, ff_out_;
};

}  // namespace lora::diffusion
