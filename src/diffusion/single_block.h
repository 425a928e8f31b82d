#pragma once
#include <string>
#include <vector>

#include "diffusion/image_rope.h"
#include "diffusion/joint_block.h"

namespace lora::diffusion {

/// diffusers' FluxSingleTransformerBlock: patches and text are one stream, and attention and the feed-forward block read the same norm
/// (Dehghani et al.: Scaling Vision Transformers to 22 Billion Parameters, 2023, section 2). X rows of N images, those of an image next to
/// each other, C channels.
class SingleBlock {
 public:
  SingleBlock(const std::string& name, const JointShape& shape, io::WeightSource& source, const at::TensorOptions& options);

  /// @param embedding_NC silu of the embedding of timesteps and pooled texts. @param rope of an image's rows.
  Tensor forward(const Tensor& rows_XC, const Tensor& embedding_NC, const RotaryTables& rope, const ImagePass& pass) const;

  std::vector<nn::Host*> hosts() const;
  /// What a pass keeps per row; what backward needs in addition.
  nn::Kept kept(nn::Recompute recompute) const;
  nn::Kept working(nn::Recompute recompute) const;

 private:
  int64_t channels_;
  double scale_;
  nn::Linear norm_;  ///< gives the change of the norm and the gate
  StreamAttention attention_;
  nn::Linear in_, out_;
};

}  // namespace lora::diffusion
