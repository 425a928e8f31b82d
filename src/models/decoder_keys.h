#pragma once
#include "lora/base/json.h"
#include "models/decoder.h"
#include "models/gated_mlp.h"

namespace lora::models {

/// vocab_size, hidden_size, num_hidden_layers and tie_word_embeddings.
DecoderOptions read_decoder_options(const JsonReader& config, bool tied_by_default);

/// hidden_size and intermediate_size, with the activation that `hidden_act` names.
GatedMlpOptions read_mlp_options(const JsonReader& config);

}  // namespace lora::models
