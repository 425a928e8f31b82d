#pragma once
#include <cstdint>
#include <vector>

#include "lora/base/json.h"
#include "lora/nn/rope.h"

namespace lora::models {

/// Where a family with one rope for layers that see everything and another for those with a window keeps theirs.
struct LayerRopes {
  const char* full_theta_key;     ///< of config.json, where the section full_attention has no rope_theta
  double full_theta;              ///< where that is missing too
  const char* sliding_theta_key;  ///< likewise of sliding_attention
  double sliding_theta;
  bool scales_both;  ///< rope_scaling is of both kinds; else of full_attention alone
};

/// The ropes of full and of sliding attention, in this order: `rope_parameters` has a section for each, over which `rope_scaling` is
/// laid, as in transformers 5.
std::vector<nn::RopeOptions> read_layer_ropes(const JsonReader& config, int64_t head_dim, int64_t max_positions, const LayerRopes& ropes);

}  // namespace lora::models
