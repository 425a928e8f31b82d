#include "models/config_keys.h"

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
  // null means as many as query heads, even if the family has another default for a missing key.
  const char* const key_heads = "num_key_value_heads";
  sizes.num_key_value_heads =
      config.is_null(key_heads) ? sizes.num_heads : read_size(config, key_heads, defaults.num_key_value_heads.value_or(sizes.num_heads));
  sizes.head_dim = read_size(config, "head_dim", defaults.head_dim.value_or(hidden_size / sizes.num_heads));
  if (sizes.num_heads % sizes.num_key_value_heads != 0) {
    config.fail("num_key_value_heads", "a divisor of num_attention_heads (" + std::to_string(sizes.num_heads) + ")");
  }
  return sizes;
}

void require_head_dim(const JsonReader& config, int64_t head_dim) {
  if (config.integer("head_dim", head_dim) != head_dim) {
    config.fail("head_dim", "the hidden size divided by the number of heads (" + std::to_string(head_dim) + "), or none");
  }
}

std::optional<int64_t> read_window(const JsonReader& config, std::optional<int64_t> fallback) {
  const char* const key = "sliding_window";
  if (config.has(key)) {
    return read_size(config, key);
  }
  return config.is_null(key) ? std::nullopt : fallback;
}

std::optional<int64_t> read_optional_window(const JsonReader& config, std::optional<int64_t> fallback) {
  const std::optional<int64_t> window = read_window(config, fallback);
  return config.boolean("use_sliding_window", false) ? window : std::nullopt;
}

std::vector<bool> read_sliding_layers(const JsonReader& config, int64_t num_layers, const std::function<bool(int64_t layer)>& otherwise) {
  std::vector<bool> sliding;
  if (!config.has("layer_types")) {
    for (int64_t layer = 0; layer < num_layers; ++layer) {
      sliding.push_back(otherwise(layer));
    }
    return sliding;
  }
  const Json& types = config.at("layer_types");
  for (const Json& type : types) {
    sliding.push_back(type == "sliding_attention");
    if (!types.is_array() || (type != "sliding_attention" && type != "full_attention")) {
      config.fail("layer_types", "a list of \"full_attention\" and \"sliding_attention\"");
    }
  }
  if (static_cast<int64_t>(sliding.size()) != num_layers) {
    config.fail("layer_types", "one type for each of num_hidden_layers (" + std::to_string(num_layers) + ")");
  }
  return sliding;
}

}  // namespace lora::models
