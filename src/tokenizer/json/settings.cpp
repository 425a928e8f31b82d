#include "tokenizer/json/settings.h"

#include <map>

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "tokenizer/special_tokens.h"

namespace lora::tokenizer {
namespace {

constexpr const char* kRoles[] = {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};
constexpr const char* kLists[] = {"additional_special_tokens", "extra_special_tokens"};

std::vector<AddedToken> read_added_tokens_decoder(const Json& tokens, const std::string& where) {
  std::map<int64_t, AddedToken> by_id;
  for_each_added_token(tokens, where, [&](int64_t id, const std::string& key, const Json& token) {
    by_id[id] = read_added_token(token, where + ": added_tokens_decoder." + key);
  });
  std::vector<AddedToken> result;
  for (auto& [id, token] : by_id) {
    result.push_back(std::move(token));
  }
  return result;
}

void read_tokenizer_config(const Json& config, const std::string& where, Settings& settings) {
  const JsonReader reader(config, where, ErrorKind::kModel);
  for (const char* role : kRoles) {
    if (reader.has(role)) {
      settings.special_tokens.push_back(token_content(config[role], role, where));
    }
  }
  for (const char* list : kLists) {
    if (reader.has(list) && config[list].is_structured()) {  // names of roles and tokens, or tokens alone
      for (const Json& token : config[list]) {
        settings.special_tokens.push_back(token_content(token, list, where));
      }
    }
  }
  const auto named = [&](const char* role) {
    return reader.has(role) ? std::optional(token_content(config[role], role, where)) : std::nullopt;
  };
  settings.bos_token = named("bos_token");
  settings.eos_token = named("eos_token");
  if (reader.has("added_tokens_decoder")) {
    settings.added_tokens = read_added_tokens_decoder(config["added_tokens_decoder"], where);
  }
}

/// The id at `key`; of a list its first one.
std::optional<int32_t> read_id(const Json& config, const std::string& key) {
  const auto found = config.is_object() ? config.find(key) : config.end();
  if (found == config.end()) {
    return std::nullopt;
  }
  const Json& id = found->is_array() && !found->empty() ? found->front() : *found;
  const bool is_id = id.is_number_integer() && id.get<int64_t>() >= 0 && id.get<int64_t>() < kMaxTokenId;
  return is_id ? std::optional(id.get<int32_t>()) : std::nullopt;
}

}  // namespace

Settings read_settings(const std::filesystem::path& folder) {
  Settings settings;
  bool says_bos = false;
  bool says_eos = false;
  if (const auto file = folder / "tokenizer_config.json"; std::filesystem::is_regular_file(file)) {
    const Json config = read_json(file, ErrorKind::kModel);
    read_tokenizer_config(config, file.string(), settings);
    says_bos = config.contains("bos_token");
    says_eos = config.contains("eos_token");
    settings.files.push_back(file);
  }
  if (const auto file = folder / "config.json"; !(says_bos && says_eos) && std::filesystem::is_regular_file(file)) {
    const Json config = read_json(file, ErrorKind::kModel);
    settings.bos_id = says_bos ? std::nullopt : read_id(config, "bos_token_id");
    settings.eos_id = says_eos ? std::nullopt : read_id(config, "eos_token_id");
  }
  return settings;
}

}  // namespace lora::tokenizer
