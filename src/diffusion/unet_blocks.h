#pragma once
#include <memory>
#include <string>
#include <vector>

#include "diffusion/image_pass.h"
#include "diffusion/image_transformer.h"
#include "diffusion/resnet_block.h"
#include "diffusion/unet_config.h"
#include "lora/nn/conv2d.h"

namespace lora::diffusion {

/// Where the modules of a UNet take their weights from.
struct UNetParts {
  const UNetConfig& config;
  io::WeightSource& source;
  const at::TensorOptions& options;

  std::unique_ptr<ResnetBlock> resnet(const std::string& name, int64_t in, int64_t out, double scale = 1.0) const;
  std::unique_ptr<ImageTransformer> attention(const std::string& name, const UNetLevel& level) const;
  std::unique_ptr<nn::Conv2d> resampler(const std::string& name, int64_t channels, int64_t stride) const;
};

/// What all blocks of a pass are given. N images, E channels of the timestep's embedding, S positions of all texts, D their channels.
struct UNetCall {
  Tensor time_NE;  ///< silu of the embedding
  Tensor text_SD;
  const ImagePass& pass;
};

/// A resnet, and attentions after it if the block has some. Recomputed separately.
struct UNetLayer {
  std::unique_ptr<ResnetBlock> resnet;
  std::unique_ptr<ImageTransformer> attention;  ///< null: none

  /// @param skip_NHWD channels after those of x; undefined: none.
  Tensor forward(const Tensor& x_NHWC, const Tensor& skip_NHWD, const UNetCall& call) const;
};

/// One resolution, downwards or upwards: layers, and then a convolution to the next resolution unless it is the last.
struct UNetBlock {
  std::vector<UNetLayer> layers;
  std::unique_ptr<nn::Conv2d> resampler;  ///< null: none

  /// In the order of the modules of diffusers' classes.
  std::vector<nn::Host*> hosts() const;
};

/// `name`.{resnets, attentions, downsamplers}. @param in channels of its input.
UNetBlock make_down_block(const std::string& name, const UNetParts& parts, int64_t in, const UNetLevel& level, bool is_last);

/// `name`.{resnets, attentions, upsamplers}. @param in channels of its input. @param skips channels of the results of the down blocks that
/// its layers take, in this order.
UNetBlock make_up_block(const std::string& name, const UNetParts& parts, int64_t in, const std::vector<int64_t>& skips,
                        const UNetLevel& level, bool is_last);

}  // namespace lora::diffusion
