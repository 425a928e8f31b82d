#pragma once
#include <string>
#include <vector>

#include "diffusion/viewed_checkpoint.h"
#include "lora/io/checkpoint.h"

// The names of Stability's code ("latent diffusion models") for the parts of a single-file checkpoint, and what they are in diffusers and
// transformers. Names are without the part's prefix.
namespace lora::diffusion {

/// A tensor of the UNet, whose blocks have two layers: "input_blocks.1.0.in_layers.2.weight" is "down_blocks.0.resnets.0.conv1.weight". A
/// name that is not known stays as it is.
std::string unet_name(const std::string& ldm);

/// The tensors of an autoencoder; the decoder's levels are counted from the other end, and attention is stored as 1x1 convolutions.
std::vector<TensorView> autoencoder_views(const std::vector<std::string>& names, const std::string& prefix);

/// The tensors of OpenCLIP's text transformer: q, k and v of a layer are one tensor, and text_projection is transposed.
/// @param num_layers layers of the model, which leaves out later ones. @param with_projection whether it has text_projection.
std::vector<TensorView> open_clip_views(const io::Checkpoint& stored, const std::string& prefix, int64_t num_layers,
                                        bool with_projection);

}  // namespace lora::diffusion
