#pragma once
#include <optional>
#include <string>

namespace lora::models {

/// What is needed to know about a family in order to read and write its files without its model.
struct FamilyFiles {
  /// The current name of a tensor that older or other tools' files name differently, given its name without wrapper prefixes; null: none.
  std::string (*model_name)(const std::string& file_name) = nullptr;
  const char* embedding = "model.embed_tokens";  ///< the module that a tied head shares its weight with
  /// The modules of the body, under the first part of `embedding`. Names in a file of the body alone begin with these.
  const char* body = "embed_tokens layers norm";
  bool is_published_bare = false;    ///< the family's published files usually hold only the body
  bool inputs_first = false;         ///< projections except the head are stored [in, out] (transformers' Conv1D)
  const char* classifier = "score";  ///< the projection to labels of the head that scores documents
  bool is_encoder = false;           ///< there is no head over the vocabulary, tied or not
  bool ties_by_default = false;      ///< tie_word_embeddings if config.json has none

  /// The model's name of a tensor, given its name in a file: without the prefixes of torch's wrappers, with current names, and with
  /// the body's prefix.
  std::string name_of(const std::string& file_name) const;
};

/// The files of a `model_type`; none for an unknown family.
std::optional<FamilyFiles> find_family_files(const std::string& model_type);

/// A tensor's name without the modules that torch wraps around others: DataParallel's `module.`, torch.compile's `_orig_mod.`,
/// FSDP's and activation checkpointing's.
std::string without_wrappers(const std::string& file_name);

}  // namespace lora::models
