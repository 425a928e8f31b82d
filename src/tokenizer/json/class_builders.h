#pragma once
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/json/class_pipeline.h"

namespace lora::tokenizer {

/// Roles with the texts of their tokens.
using RoleDefaults = std::vector<std::pair<const char*, const char*>>;

/// A class of transformers that builds its tokenizer around a vocabulary.
struct TokenizerClass {
  const char* name;
  const char* model;    ///< the type of its model
  RoleDefaults tokens;  ///< its default tokens
  /// Replaces the file's sections by its own. The settings already include its default tokens.
  void (*build)(const FolderSettings& settings, Json& file, ClassTraits& traits);
};

// The classes by the type of their model.
const std::vector<TokenizerClass>& bpe_classes();
const std::vector<TokenizerClass>& unigram_classes();
const std::vector<TokenizerClass>& wordpiece_classes();

/// The default tokens of RoBERTa and of the classes that use the same ones.
const RoleDefaults& roberta_tokens();

/// The class with this name; null if it is not reproduced here.
const TokenizerClass* find_class(const std::string& name);

}  // namespace lora::tokenizer
