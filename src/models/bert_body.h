#pragma once
#include <string>
#include <vector>

#include "families.h"

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

/// The rate of dropout before a classifier: classifier_dropout, or where it is null hidden_dropout_prob.
double read_classifier_dropout(const JsonReader& config);

/// The model's name of a tensor in a file that may hold the body alone, or norms under TensorFlow's names.
/// @param body the module that holds the body. @param parts what the modules in it are called.
std::string name_in_body(std::string file_name, const std::string& body, const std::vector<std::string>& parts);

}  // namespace lora::models
