#pragma once
#include <string>
#include <vector>

#include "encoder_keys.h"
#include "families.h"
#include "self_attention.h"

namespace lora::models {

/// BERT's body under the names of a family that shares it.
struct BertBody {
  std::string name;                  ///< of the module that holds it
  int64_t pad_id = 0;                ///< where config.json has no pad_token_id
  bool positions_skip_pads = false;  ///< and count from the pad's id
};

/// Embeddings and layers of BERT and of what followed it closely, without pooler and head.
std::unique_ptr<nn::Model> make_bert_body(const BertBody& body, const JsonReader& config, io::WeightSource& source,
                                          const at::TensorOptions& options);

/// Attention both ways with biases and without rotary positions, as BERT has it.
/// @param dropout_key of the rate that the attention probabilities are dropped at, 0.1 where it is missing.
SelfAttentionOptions read_bert_attention(const JsonReader& config, int64_t hidden_size, const EncoderKeys& keys, const char* dropout_key,
                                         const SelfAttentionNames& names);

/// The rate of dropout before a classifier: classifier_dropout, or where it is null hidden_dropout_prob.
double read_classifier_dropout(const JsonReader& config);

}  // namespace lora::models
