#include "tokenizer/json/class_builders.h"

namespace lora::tokenizer {

const TokenizerClass* find_class(const std::string& name) {
  for (const auto* classes : {&bpe_classes(), &unigram_classes(), &wordpiece_classes()}) {
    for (const TokenizerClass& entry : *classes) {
      if (name == entry.name) {
        return &entry;
      }
    }
  }
  return nullptr;
}

}  // namespace lora::tokenizer
