#pragma once
#include <memory>
#include <string>
#include <vector>

#include "diffusion/image_pass.h"
#include "lora/nn/conv2d.h"
#include "lora/nn/dropout.h"
#include "lora/nn/group_norm.h"
#include "lora/nn/linear.h"

namespace lora::diffusion {

struct ResnetShape {
  int64_t in_channels, out_channels;
  int64_t time_channels;  ///< of the timestep's embedding; 0: the block has no input for it
  int64_t num_groups;
  double norm_eps;
  double dropout = 0.0;
  double scale = 1.0;  ///< the sum of both branches is divided by it
};

/// diffusers' ResnetBlock2D: x + conv2(silu(norm2(conv1(silu(norm1(x))) + time))), where x passes a convolution of single pixels if the
/// channels differ. N images, H and W their sizes, C channels, E channels of the timestep's embedding.
class ResnetBlock {
 public:
  ResnetBlock(const std::string& name, const ResnetShape& shape, io::WeightSource& source, const at::TensorOptions& options);

  /// @param time_NE silu of the timestep's embedding; undefined if the block has no input for it.
  Tensor forward(const Tensor& x_NHWC, const Tensor& time_NE, const ImagePass& pass) const;

  /// In the order of the modules of diffusers' class.
  std::vector<nn::Host*> hosts() const;
  /// What a pass keeps of it per pixel until backward.
  nn::Kept kept() const;
  int64_t in_channels() const { return shape_.in_channels; }

 private:
  ResnetShape shape_;
  std::unique_ptr<nn::GroupNorm> norm1_, norm2_;
  std::unique_ptr<nn::Conv2d> conv1_, conv2_, shortcut_;  ///< shortcut_ null: the channels are the same
  std::unique_ptr<nn::Linear> time_;                      ///< null: none
  nn::Dropout dropout_;
};

}  // namespace lora::diffusion
