#include "lora/tokenizer/tokenizer.h"

#include "lora/base/bundle.h"
#include "lora/base/error.h"
#include "tokenizer/json/json_tokenizer.h"
#include "tokenizer/json/vocabulary_files.h"
#include "tokenizer/sentencepiece_tokenizer.h"

namespace lora::tokenizer {
namespace {

namespace fs = std::filesystem;

constexpr const char* kJsonName = "tokenizer.json";
constexpr const char* kModelName = "tokenizer.model";

[[noreturn]] void no_model(const fs::path& path, const std::string& found) {
  model_error(path.string(), "there is no usable tokenizer: found " + found + ", expected a " + kJsonName + " or a SentencePiece " +
                                 kModelName + ". Use a model that ships one, or `tokens` rows, which need no tokenizer.");
}

// tokenizer.json takes precedence over the other files, as in transformers.
std::unique_ptr<Tokenizer> load_folder(const fs::path& folder) {
  if (is_file(folder / kJsonName)) {
    return load_json_tokenizer(folder / kJsonName, /*has_settings=*/true);
  }
  if (is_file(folder / kModelName)) {
    return load_sentencepiece(folder / kModelName, folder);
  }
  if (find_vocabulary_files(folder).empty()) {
    no_model(folder, "no tokenizer file");
  }
  return load_vocabulary_files(folder);
}

}  // namespace

bool has_tokenizer(const std::filesystem::path& path) {
  return is_file(path) || is_file(path / kJsonName) || is_file(path / kModelName) ||
         !find_vocabulary_files(path).empty();
}

std::vector<int32_t> Tokenizer::encode_with_specials(std::string_view text, bool add_special_tokens) const {
  std::vector<int32_t> ids = encode(text);
  if (add_special_tokens && add_bos() && bos_id()) {
    ids.insert(ids.begin(), *bos_id());
  }
  if (add_special_tokens && add_eos() && eos_id()) {
    ids.push_back(*eos_id());
  }
  return ids;
}

std::string Tokenizer::identity() const {
  return std::to_string(bos_id().value_or(-1)) + " " + std::to_string(eos_id().value_or(-1));
}

std::map<std::string, std::string> Tokenizer::named_tokens() const {
  std::map<std::string, std::string> names;
  if (bos_id()) {
    names["bos_token"] = token(*bos_id());
  }
  if (eos_id()) {
    names["eos_token"] = token(*eos_id());
  }
  return names;
}

TypedIds Tokenizer::around(const std::vector<int32_t>& first, const std::vector<int32_t>* second) const {
  TypedIds result;
  const auto add = [this, &result](const std::vector<int32_t>& ids, int32_t type) {
    if (add_bos() && bos_id()) {
      result.ids.push_back(*bos_id());
    }
    result.ids.insert(result.ids.end(), ids.begin(), ids.end());
    if (add_eos() && eos_id()) {
      result.ids.push_back(*eos_id());
    }
    result.types.resize(result.ids.size(), type);
  };
  add(first, 0);
  if (second != nullptr) {
    add(*second, 1);
  }
  return result;
}

std::unique_ptr<Tokenizer> load_tokenizer(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) {
    no_model(path, "nothing at this path");
  }
  if (is_folder(path)) {
    return load_folder(path);
  }
  // If the file has another name, the settings in its folder belong to another tokenizer.
  if (path.extension() == ".json") {
    return load_json_tokenizer(path, path.filename() == kJsonName);
  }
  return load_sentencepiece(path, path.filename() == kModelName ? std::optional(path.parent_path()) : std::nullopt);
}

}  // namespace lora::tokenizer
