#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/json.h"

namespace lora::diffusion {

/// What SDXL conditions on in addition to the text: six numbers of the image's size and crop, and the pooled text.
struct AddedCondition {
  int64_t time_embed_dim;  ///< channels of each number's embedding
  int64_t input_dim;       ///< channels of the pooled text and the six embeddings together
};

/// One resolution of the UNet, in the order of its down blocks.
struct UNetLevel {
  int64_t channels;
  int64_t num_layers;              ///< of the down block; the up block has one more
  int64_t num_heads;               ///< config.json calls it attention_head_dim
  int64_t num_transformer_blocks;  ///< in each of its attentions
  bool down_attends, up_attends;   ///< whether the block has attentions
};

/// config.json of UNet2DConditionModel. A key that is absent has the default of today's class, because files only hold the keys that
/// existed when they were written.
struct UNetConfig {
  int64_t in_channels, out_channels;
  std::vector<UNetLevel> levels;  ///< from the finest
  bool has_mid_block;
  int64_t cross_attention_dim;  ///< channels of the text states
  bool linear_projection;       ///< whether proj_in and proj_out are Linear; otherwise convolutions of 1 × 1
  std::optional<AddedCondition> added;
  int64_t num_groups;
  double norm_eps, mid_scale, dropout, freq_shift;
  bool cosine_first;  ///< flip_sin_to_cos

  int64_t time_dim() const { return 4 * levels.front().channels; }
};

/// Reads it. Throws model Error for a damaged value, and for a value of any key that would need a part that this UNet does not have.
/// Warns of keys that the class does not have.
/// @param where the file, for messages.
UNetConfig read_unet_config(const Json& config, const std::string& where);

}  // namespace lora::diffusion
