#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/nn/attention.h"

namespace lora::models {

using nn::HeadSizes;

/// A required size in 1 … 2^24 (a larger one means a damaged file, not a model).
int64_t read_size(const JsonReader& config, const std::string& key);
/// The same with a default for a missing key.
int64_t read_size(const JsonReader& config, const std::string& key, int64_t fallback);

/// What a family uses if config.json has no such key.
struct HeadDefaults {
  std::optional<int64_t> num_key_value_heads = std::nullopt;  ///< none: as many as query heads
  std::optional<int64_t> head_dim = std::nullopt;             ///< none: hidden_size / num_attention_heads
};

/// Reads them; throws model Error if the number of key heads does not divide that of the query heads.
HeadSizes read_head_sizes(const JsonReader& config, int64_t hidden_size, const HeadDefaults& defaults = {});

/// Throws model Error for a head_dim other than that of the family's modules.
void require_head_dim(const JsonReader& config, int64_t head_dim);

/// The number of tokens that windowed attention looks back: `sliding_window`, none if it is null.
std::optional<int64_t> read_window(const JsonReader& config, std::optional<int64_t> fallback);

/// The same for a family whose window only applies with `use_sliding_window`.
std::optional<int64_t> read_optional_window(const JsonReader& config, std::optional<int64_t> fallback);

/// Whether each layer has the window: by `layer_types` ("sliding_attention", "full_attention"), otherwise by the family's rule.
std::vector<bool> read_sliding_layers(const JsonReader& config, int64_t num_layers, const std::function<bool(int64_t layer)>& otherwise);

}  // namespace lora::models
