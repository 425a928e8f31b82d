#pragma once
#include <cstdint>
#include <string>

#include "lora/base/json.h"

namespace lora::diffusion {

/// The size at `key` of a config, or `fallback` if it has none. Throws model Error for one that is not from 1 to 2^24: a larger one means a
/// damaged file.
inline int64_t config_size(const JsonReader& config, const std::string& key, int64_t fallback) {
  const int64_t value = config.integer(key, fallback);
  if (value < 1 || value > (1 << 24)) {
    config.fail(key, "an integer from 1 to 16777216");
  }
  return value;
}

}  // namespace lora::diffusion
