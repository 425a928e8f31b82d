#include "lora/tokenizer/tokenizer.h"

#include "lora/base/error.h"
#include "tokenizer/sentencepiece_tokenizer.h"

namespace lora::tokenizer {
namespace {

namespace fs = std::filesystem;

constexpr const char* kModelName = "tokenizer.model";

[[noreturn]] void no_model(const fs::path& path, const std::string& found) {
  model_error(path.string(), "there is no usable tokenizer: found " + found + ", expected a SentencePiece " + kModelName +
                                 ". Use a model that ships one, or `tokens` rows, which need no tokenizer.");
}

std::unique_ptr<Tokenizer> load_folder(const fs::path& folder) {
  if (!fs::is_regular_file(folder / kModelName)) {
    no_model(folder, fs::exists(folder / "tokenizer.json") ? "tokenizer.json alone" : "no tokenizer file");
  }
  return load_sentencepiece(folder / kModelName, folder);
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    no_model(path, "nothing at this path");
  }
  if (fs::is_directory(status)) {
    return load_folder(path);
  }
  if (path.extension() == ".json") {
    no_model(path, "a JSON file");
  }
  // The settings beside a file of another name belong to another tokenizer.
  return load_sentencepiece(path, path.filename() == kModelName ? std::optional(path.parent_path()) : std::nullopt);
}

}  // namespace lora::tokenizer
