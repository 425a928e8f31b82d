#include "tokenizer/json/file_settings.h"

namespace lora::tokenizer {
namespace {

void add_tokens(const Json& tokens, FolderSettings& settings, const std::string& where) {
  for (size_t i = 0; tokens.is_array() && i < tokens.size(); ++i) {
    const std::string entry = where + "[" + std::to_string(i) + "]";
    const AddedToken token = read_added_token(tokens[i], entry);
    settings.added[JsonReader(tokens[i], entry, ErrorKind::kModel).integer("id")] = token;
  }
}

}  // namespace

void add_file_settings(const Json& file, FolderSettings& settings, const std::string& where) {
  if (!settings.has_decoder) {
    add_tokens(file.value("added_tokens", Json()), settings, where + ": added_tokens");
  }
  const Json padding = file.value("padding", Json());
  if (padding.is_object() && padding.value("pad_token", Json()).is_string() && !settings.says("pad_token")) {
    AddedToken token{padding["pad_token"].get<std::string>()};
    token.special = true;
    settings.roles.emplace_back("pad_token", token);
    settings.order_roles();
  }
}

}  // namespace lora::tokenizer
