#pragma once
#include <string>
#include <vector>

#include "models/encoder_keys.h"
#include "models/families.h"
#include "models/self_attention.h"

namespace lora::models {

/// BERT's body under the names of a family that shares it.
struct BertBody {
  std::string name;                  ///< of the module that contains it
  int64_t pad_id = 0;                ///< used if config.json has no pad_token_id
  bool positions_skip_pads = false;  ///< positions start after the pad token's id and leave padding out
  std::vector<std::string> target_modules = {"query", "value"};  ///< PEFT's default for the family; empty: none
};

/// The embeddings and layers of BERT and its close relatives, without pooler and head.
std::unique_ptr<nn::Model> make_bert_body(const BertBody& body, const JsonReader& config, io::WeightSource& source,
                                          const at::TensorOptions& options);

/// Bidirectional attention with biases and without rotary positions, as in BERT.
/// @param dropout_key key of the dropout rate of the attention probabilities, 0.1 if it is missing.
SelfAttentionOptions read_bert_attention(const JsonReader& config, int64_t hidden_size, const EncoderKeys& keys, const char* dropout_key,
                                         const SelfAttentionNames& names);

/// The rate of dropout before a classifier: classifier_dropout, or hidden_dropout_prob if that is null.
double read_classifier_dropout(const JsonReader& config);

}  // namespace lora::models
