#pragma once
#include <memory>
#include <string>
#include <vector>

#include "diffusion/transformer_block.h"
#include "lora/nn/conv2d.h"
#include "lora/nn/group_norm.h"

namespace lora::diffusion {

struct ImageTransformerShape {
  TransformerShape block;
  int64_t num_blocks;
  int64_t num_groups;
  bool linear_projection;  ///< whether proj_in and proj_out are Linear; otherwise convolutions of single pixels
};

/// diffusers' Transformer2DModel over the pixels of images: norm, projection, transformer blocks, projection, and the sum with the input.
class ImageTransformer {
 public:
  ImageTransformer(const std::string& name, const ImageTransformerShape& shape, io::WeightSource& source, const at::TensorOptions& options);

  /// N images of H × W pixels, C channels; S positions of all texts, D channels of the text.
  Tensor forward(const Tensor& x_NHWC, const Tensor& text_SD, const ImagePass& pass) const;

  std::vector<nn::Host*> hosts() const;
  /// What a pass keeps per pixel, and while backward runs through the most expensive block.
  nn::Kept kept(nn::Recompute recompute) const;
  nn::Kept working(nn::Recompute recompute) const;
  /// What a pass keeps per position of the text.
  nn::Kept kept_of_text() const;

 private:
  /// Linear, or a convolution of single pixels.
  class Projection;

  std::unique_ptr<nn::GroupNorm> norm_;
  std::shared_ptr<const Projection> in_, out_;
  std::vector<std::unique_ptr<TransformerBlock>> blocks_;
};

}  // namespace lora::diffusion
