#include "models/decoder_keys.h"

#include "lora/nn/activation.h"
#include "models/config_keys.h"

namespace lora::models {

DecoderOptions read_decoder_options(const JsonReader& config, bool tied_by_default) {
  DecoderOptions o{};
  o.vocab_size = read_size(config, "vocab_size");
  o.hidden_size = read_size(config, "hidden_size");
  o.num_layers = read_size(config, "num_hidden_layers");
  o.tied_head = config.boolean("tie_word_embeddings", tied_by_default);
  return o;
}

GatedMlpOptions read_mlp_options(const JsonReader& config) {
  const ops::Activation activation = nn::find_activation(config.string("hidden_act", "silu"), config.where() + ": hidden_act");
  return {read_size(config, "hidden_size"), read_size(config, "intermediate_size"), activation};
}

}  // namespace lora::models
