#pragma once
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/json/class_pipeline.h"

namespace lora::tokenizer {

/// One of transformers' classes that build their tokenizer themselves around a vocabulary.
struct TokenizerClass {
  const char* name;
  const char* model;                                        ///< the type of its model
  std::vector<std::pair<const char*, const char*>> tokens;  ///< those that it has by default, by role
  /// Puts its sections in place of the file's. The settings have its default tokens.
  void (*build)(const FolderSettings& settings, Json& file, ClassTraits& traits);
};

/// The class of that name; null for one that is not done here.
const TokenizerClass* find_class(const std::string& name);

}  // namespace lora::tokenizer
