#pragma once
#include <cstdint>

#include "lora/base/json.h"

namespace lora::diffusion {

/// scheduler_config.json of FlowMatchEulerDiscreteScheduler; absent keys have its defaults.
struct FlowConfig {
  int64_t num_timesteps;
  double shift;
  bool shifts_by_size;          ///< use_dynamic_shifting: by the number of an image's patches, instead of `shift`
  double base_shift, max_shift;
  int64_t base_patches, max_patches;  ///< base_image_seq_len, max_image_seq_len
  bool is_linear;                     ///< time_shift_type "linear"; otherwise "exponential"
};

/// Throws model Error naming the key for another class, and for a value that makes no schedule or asks for something that is not done.
FlowConfig read_flow_config(const JsonReader& config);

}  // namespace lora::diffusion
