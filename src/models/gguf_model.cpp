#include "lora/models/gguf_model.h"

#include "lora/base/bundle.h"
#include "models/gguf_config.h"
#include "models/gguf_tokenizer.h"

namespace lora::models {

namespace {

BundledFiles bundled_files(const std::filesystem::path& path) {
  const auto file = std::make_shared<const io::GgufFile>(path);
  gguf_architecture(*file);
  BundledFiles files{{"config.json", [file] { return gguf_config(*file).dump(2) + "\n"; }}};
  const GgufVocabulary vocabulary = gguf_vocabulary(*file);
  if (vocabulary == GgufVocabulary::kBpe) {
    warn_of_unknown_split(*file);
    files["tokenizer.json"] = [file] { return gguf_tokenizer_json(*file); };
  } else if (vocabulary == GgufVocabulary::kSentencePiece) {
    files["tokenizer.model"] = [file] { return gguf_tokenizer_model(*file); };
  }
  if (vocabulary != GgufVocabulary::kNone) {
    files["tokenizer_config.json"] = [file] { return gguf_tokenizer_config(*file); };
    if (!gguf_generation_config(*file).empty()) {
      files["generation_config.json"] = [file] { return gguf_generation_config(*file); };
    }
  }
  return files;
}

}  // namespace

void add_gguf_model(const std::filesystem::path& path) {
  if (!is_bundle(path) && io::is_gguf(path)) {
    add_bundle(path, [path] { return bundled_files(path); });
  }
}

}  // namespace lora::models
