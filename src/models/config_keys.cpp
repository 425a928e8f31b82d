#include "config_keys.h"

#include "lora/base/log.h"

namespace lora::models {

int64_t read_size(const JsonReader& config, const std::string& key) {
  const int64_t value = config.integer(key);
  if (value < 1 || value > (1 << 24)) {
    config.fail(key, "an integer from 1 to 16777216");
  }
  return value;
}

int64_t read_size(const JsonReader& config, const std::string& key, int64_t fallback) {
  return config.has(key) ? read_size(config, key) : fallback;
}

HeadSizes read_head_sizes(const JsonReader& config, int64_t hidden_size, const HeadDefaults& defaults) {
  HeadSizes sizes{};
  sizes.num_heads = read_size(config, "num_attention_heads");
  sizes.num_key_value_heads = read_size(config, "num_key_value_heads", defaults.num_key_value_heads.value_or(sizes.num_heads));
  sizes.head_dim = read_size(config, "head_dim", defaults.head_dim.value_or(hidden_size / sizes.num_heads));
  if (sizes.num_heads % sizes.num_key_value_heads != 0) {
    config.fail("num_key_value_heads", "a divisor of num_attention_heads (" + std::to_string(sizes.num_heads) + ")");
  }
  return sizes;
}

void warn_of_dropout(const JsonReader& config, const std::vector<std::string>& keys) {
  for (const std::string& key : keys) {
    if (config.number(key, 0.0) != 0.0) {
      log::warn("[" + config.where() + "] " + key + " is not 0 and is not applied: the base model trains without its own dropout");
    }
  }
}

}  // namespace lora::models
