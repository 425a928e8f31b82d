#pragma once
#include <optional>
#include <string>

namespace lora::models {

/// What must be known of a family to read and write its files without its model.
struct FamilyFiles {
  /// What older or foreign files call a tensor otherwise, by its name without a wrapper's prefix; null: nothing.
  std::string (*model_name)(const std::string& file_name) = nullptr;
  const char* embedding = "model.embed_tokens";  ///< the module that a tied head shares its weight with
  /// The modules of the body, which the embedding's first part holds: a file of the body alone begins with these.
  const char* body = "embed_tokens layers norm";
  bool is_published_bare = false;    ///< the family's published files hold the body alone: nothing odd
  bool inputs_first = false;         ///< projections, but for the head, are stored [in, out] (transformers' Conv1D)
  const char* classifier = "score";  ///< the projection to labels of the head that scores documents
  bool is_encoder = false;           ///< there is no head over the vocabulary, tied or not
  bool ties_by_default = false;      ///< tie_word_embeddings where config.json has none

  /// The model's name of a tensor, by its name in a file: without what torch's wrappers put around it, under today's names, and
  /// with the body's prefix.
  std::string name_of(const std::string& file_name) const;
};

/// Those of a `model_type`; none for a family that is not known.
std::optional<FamilyFiles> find_family_files(const std::string& model_type);

/// A tensor's name without the modules that torch wraps around others: DataParallel's `module.`, torch.compile's `_orig_mod.`,
/// FSDP's and activation checkpointing's.
std::string without_wrappers(const std::string& file_name);

}  // namespace lora::models
