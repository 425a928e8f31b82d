#pragma once
#include "lora/base/json.h"
#include "models/transformer.h"

namespace lora::models {

/// The names of an encoder's sizes in a family's config.json.
struct EncoderKeys {
  const char* hidden_size = "hidden_size";
  const char* num_layers = "num_hidden_layers";
  const char* num_heads = "num_attention_heads";
};

/// vocab_size, hidden size and number of layers. Throws model Error for a config that makes the family a decoder.
TransformerOptions read_encoder_options(const JsonReader& config, const EncoderKeys& keys = {});

/// pad_token_id; `fallback` if there is no such key, none if it is null.
std::optional<int64_t> read_pad_id(const JsonReader& config, int64_t fallback);

/// The number of heads. Throws model Error if it does not divide the hidden size.
int64_t read_encoder_heads(const JsonReader& config, int64_t hidden_size, const EncoderKeys& keys = {});

}  // namespace lora::models
