#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lora/base/json.h"

namespace lora::diffusion {

/// config.json of FluxTransformer2DModel. A key that is absent has the default of today's class.
struct FluxConfig {
  int64_t patch_channels;  ///< in_channels: those of 2 by 2 latents
  int64_t num_layers, num_single_layers, num_heads, head_dim;
  int64_t text_channels;           ///< joint_attention_dim
  int64_t pooled_channels;         ///< pooled_projection_dim
  bool takes_guidance;             ///< guidance_embeds: FLUX.1-dev
  std::vector<int64_t> rope_axes;  ///< axes_dims_rope: channels of a head that are turned by each of the three axes of a patch's place

  int64_t channels() const { return num_heads * head_dim; }
};

/// Reads it. Throws model Error for a damaged value, and for one that needs a part which this network does not have. Warns of keys that
/// the class does not have.
/// @param where the file, for messages.
FluxConfig read_flux_config(const Json& config, const std::string& where);

}  // namespace lora::diffusion
