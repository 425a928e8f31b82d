#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lora/base/json.h"

namespace lora::diffusion {

/// config.json of SD3Transformer2DModel. A key that is absent has the default of today's class.
struct Sd3Config {
  int64_t patch_size, in_channels, out_channels;
  int64_t num_layers, num_heads, head_dim;
  int64_t text_channels;    ///< joint_attention_dim
  int64_t pooled_channels;  ///< pooled_projection_dim
  int64_t grid_side;        ///< pos_embed_max_size: rows and columns of the stored positions
  std::vector<bool> has_second_attention;  ///< of each layer: dual_attention_layers
  bool norms_queries;                      ///< qk_norm "rms_norm"

  int64_t channels() const { return num_heads * head_dim; }
};

/// Reads it. Throws model Error for a damaged value, and for one that needs a part which this network does not have. Warns of keys that
/// the class does not have.
/// @param where the file, for messages.
Sd3Config read_sd3_config(const Json& config, const std::string& where);

}  // namespace lora::diffusion
