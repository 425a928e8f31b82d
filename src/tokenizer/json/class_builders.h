#pragma once
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/json/class_pipeline.h"

namespace lora::tokenizer {

/// Roles and the texts of their tokens.
using RoleDefaults = std::vector<std::pair<const char*, const char*>>;

/// One of transformers' classes that build their tokenizer themselves around a vocabulary.
struct TokenizerClass {
  const char* name;
  const char* model;    ///< the type of its model
  RoleDefaults tokens;  ///< those that it has by default
  /// Puts its sections in place of the file's. The settings have its default tokens.
  void (*build)(const FolderSettings& settings, Json& file, ClassTraits& traits);
};

// By the type of their model.
const std::vector<TokenizerClass>& bpe_classes();
const std::vector<TokenizerClass>& unigram_classes();
const std::vector<TokenizerClass>& wordpiece_classes();

/// The default tokens of RoBERTa and of the classes that took them over.
const RoleDefaults& roberta_tokens();

/// The class of that name; null for one that is not built here.
const TokenizerClass* find_class(const std::string& name);

}  // namespace lora::tokenizer
