#include "models/encoder_keys.h"

#include "models/config_keys.h"

namespace lora::models {

TransformerOptions read_encoder_options(const JsonReader& config, const EncoderKeys& keys) {
  for (const char* key : {"is_decoder", "add_cross_attention"}) {
    if (config.boolean(key, false)) {
      config.fail(key, "false: only plain encoders are supported");
    }
  }
  if (config.string("position_embedding_type", "absolute") != "absolute") {
    config.fail("position_embedding_type", "\"absolute\", or none");
  }
  TransformerOptions body{};
  body.vocab_size = read_size(config, "vocab_size");
  body.hidden_size = read_size(config, keys.hidden_size);
  body.num_layers = read_size(config, keys.num_layers);
  return body;
}

std::optional<int64_t> read_pad_id(const JsonReader& config, int64_t fallback) {
  return config.is_null("pad_token_id") ? std::nullopt : std::optional(config.integer("pad_token_id", fallback));
}

int64_t read_encoder_heads(const JsonReader& config, int64_t hidden_size, const EncoderKeys& keys) {
  const int64_t num_heads = read_size(config, keys.num_heads);
  if (hidden_size % num_heads != 0) {
    config.fail(keys.num_heads, "a divisor of the hidden size (" + std::to_string(hidden_size) + ")");
  }
  return num_heads;
}

}  // namespace lora::models
