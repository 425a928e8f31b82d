#include "tokenizer/json/model.h"

#include "tokenizer/json/bpe.h"
#include "tokenizer/json/component.h"
#include "tokenizer/json/unigram.h"
#include "tokenizer/json/wordpiece.h"

namespace lora::tokenizer {
namespace {

struct ModelKind {
  const char* type;
  std::unique_ptr<TokenModel> (*read)(const Json& model, const std::string& where, bool reads_bytes);
  bool can_read_bytes;
};
constexpr ModelKind kModels[] = {
    {"BPE", read_bpe, true},
    {"Unigram", [](const Json& model, const std::string& where, bool) { return read_unigram(model, where); }, false},
    {"WordPiece", [](const Json& model, const std::string& where, bool) { return read_wordpiece(model, where); }, false},
    {"WordLevel", [](const Json& model, const std::string& where, bool) { return read_wordlevel(model, where); }, false},
};

/// Early files have no "type"; the other keys distinguish the models.
std::string type_of(const Json& model, const std::string& where) {
  const JsonReader reader(model, where, ErrorKind::kModel);
  if (reader.has("type")) {
    return reader.string("type");
  }
  return reader.has("merges")                     ? "BPE"
         : reader.has("max_input_chars_per_word") ? "WordPiece"
         : reader.at("vocab").is_array()          ? "Unigram"
                                                  : "WordLevel";
}

}  // namespace

std::unique_ptr<TokenModel> read_model(const Json& model, const std::string& where, bool reads_bytes) {
  return find_kind(kModels, type_of(model, where), where).read(model, where, reads_bytes);
}

bool can_read_bytes(const Json& model, const std::string& where) {
  return find_kind(kModels, type_of(model, where), where).can_read_bytes;
}

}  // namespace lora::tokenizer
