#include "models/gemma_keys.h"

#include <cmath>

#include "lora/nn/activation.h"
#include "models/config_keys.h"

namespace lora::models {

void require_causal(const JsonReader& config) {
  if (config.boolean("use_bidirectional_attention", false)) {
    config.fail("use_bidirectional_attention", "false: only models that predict the next token are supported");
  }
}

std::optional<double> read_soft_cap(const JsonReader& config, const std::string& key, std::optional<double> fallback) {
  if (!config.has(key)) {
    return config.is_null(key) ? std::nullopt : fallback;
  }
  if (!(config.number(key) > 0)) {
    config.fail(key, "a number above 0, or null for none");
  }
  return config.number(key);
}

double read_query_scale(const JsonReader& config) {
  const double scalar = config.number("query_pre_attn_scalar", 256);
  if (!(scalar > 0)) {
    config.fail("query_pre_attn_scalar", "a number above 0");
  }
  return 1.0 / std::sqrt(scalar);
}

GatedMlpOptions read_gemma_mlp(const JsonReader& config) {
  const std::string name = config.string("hidden_activation", "gelu_pytorch_tanh");
  return {read_size(config, "hidden_size"), read_size(config, "intermediate_size"),
          nn::find_activation(name, config.where() + ": hidden_activation")};
}

}  // namespace lora::models
