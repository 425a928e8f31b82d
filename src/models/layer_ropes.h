#pragma once
#include <cstdint>
#include <vector>

#include "lora/base/json.h"
#include "lora/nn/rope.h"

namespace lora::models {

/// Where a family with one rope for layers with full attention and another for those with a window keeps their settings.
struct LayerRopes {
  const char* full_theta_key;     ///< in config.json, if the section full_attention has no rope_theta
  double full_theta;              ///< used if that is missing too
  const char* sliding_theta_key;  ///< the same for sliding_attention
  double sliding_theta;
  bool scales_both;  ///< rope_scaling applies to both kinds; otherwise only to full_attention
};

/// The ropes of full and of sliding attention, in this order. `rope_parameters` has a section for each, which `rope_scaling`
/// overrides key by key, as in transformers 5.
std::vector<nn::RopeOptions> read_layer_ropes(const JsonReader& config, int64_t head_dim, int64_t max_positions, const LayerRopes& ropes);

}  // namespace lora::models
