#pragma once
#include <optional>
#include <string>

namespace lora::models {

/// What must be known of a family to read and write its files without its model.
struct FamilyFiles {
  /// The model's name of a tensor, by its name in a file; null: they are the same.
  std::string (*model_name)(const std::string& file_name) = nullptr;
  const char* embedding = "model.embed_tokens";  ///< the module that a tied head shares its weight with
  bool inputs_first = false;                     ///< projections, but for the head, are stored [in, out] (transformers' Conv1D)
  const char* classifier = "score";              ///< the projection to labels of the head that scores documents
  bool is_encoder = false;                       ///< there is no head over the vocabulary, tied or not
  bool ties_by_default = false;                  ///< tie_word_embeddings where config.json has none

  std::string name_of(const std::string& file_name) const { return model_name == nullptr ? file_name : model_name(file_name); }
};

/// Those of a `model_type`; none for a family that is not known.
std::optional<FamilyFiles> find_family_files(const std::string& model_type);

}  // namespace lora::models
