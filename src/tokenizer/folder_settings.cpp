#include "tokenizer/folder_settings.h"

#include <algorithm>
#include <charconv>

#include "lora/base/bundle.h"
#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "tokenizer/known_keys.h"
#include "tokenizer/tokenizer_class.h"

namespace lora::tokenizer {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRoles[] = {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};
constexpr const char* kLists[] = {"extra_special_tokens", "additional_special_tokens"};

bool is_role(const std::string& key) {
  return std::find(std::begin(kRoles), std::end(kRoles), key) != std::end(kRoles);
}

/// "<s>", or {"content": "<s>", "lstrip": …}. A token with a role is special and not normalized unless it says otherwise.
AddedToken read_named_token(const Json& token, const std::string& key, const std::string& where) {
  AddedToken named{token_content(token, key, where)};
  named.special = true;
  if (token.is_object()) {
    const JsonReader reader(token, where, ErrorKind::kModel);
    named.single_word = reader.boolean("single_word", false);
    named.lstrip = reader.boolean("lstrip", false);
    named.rstrip = reader.boolean("rstrip", false);
    named.normalized = reader.boolean("normalized", false);
  }
  return named;
}

/// Whether a version of transformers is less than 5.0.0, as 5.0.0rc1 is.
bool is_before_5(std::string_view version) {
  int major = 0;
  const auto [end, error] = std::from_chars(version.data(), version.data() + version.size(), major);
  if (error != std::errc() || major != 5) {
    return error == std::errc() && major < 5;
  }
  version.remove_prefix(static_cast<size_t>(end - version.data()));
  while (version.starts_with(".0")) {
    version.remove_prefix(2);
  }
  const size_t letter = version.starts_with('.') ? 1 : 0;
  return version.size() > letter && std::string_view("abcdr").find(version[letter]) != std::string_view::npos;
}

/// Whether transformers applies fix_mistral_regex to the model: its type is one of Mistral's or missing, and it was saved before
/// transformers 5.
bool is_older_mistral(const Json& config) {
  static constexpr std::string_view kTypes[] = {"mistral", "mistral3", "voxtral", "ministral", "pixtral"};
  const Json type = config.is_object() ? config.value("model_type", Json()) : Json();
  const Json version = config.is_object() ? config.value("transformers_version", Json()) : Json();
  const auto is_same = [&type](std::string_view name) { return type == name; };
  return (type.is_null() || std::any_of(std::begin(kTypes), std::end(kTypes), is_same)) &&
         (!version.is_string() || version == "" || is_before_5(version.get<std::string>()));
}

/// Reads the files into the settings, one after the other.
class SettingsReader {
 public:
  explicit SettingsReader(fs::path folder) : folder_(std::move(folder)) {}

  FolderSettings read() {
    const Json config = read_object("tokenizer_config.json");
    take_flags(config);
    take_tokens(config, path("tokenizer_config.json"));
    take_extra(config, path("tokenizer_config.json"));
    settings_.has_decoder = config.contains("added_tokens_decoder") && !config["added_tokens_decoder"].is_null();
    if (settings_.has_decoder) {
      take_decoder(config["added_tokens_decoder"]);
    } else {
      take_older_files();
    }
    settings_.order_roles();
    take_model_config(config);
    return std::move(settings_);
  }

 private:
  std::string path(const char* name) const { return (folder_ / name).string(); }

  Json read_object(const char* name) {
    const fs::path file = folder_ / name;
    if (!is_file(file)) {
      return Json::object();
    }
    Json object = read_json(file, ErrorKind::kModel);
    if (!object.is_object()) {
      model_error(file.string(), "found " + type_name(object) + ", expected an object");
    }
    settings_.files.push_back(file);
    warn_of_unknown_keys(object, name, file.string());
    return object;
  }

  void take_flags(const Json& config) {
    const JsonReader reader(config, path("tokenizer_config.json"), ErrorKind::kModel);
    const auto flag = [&reader](const char* key) { return reader.has(key) ? std::optional(reader.boolean(key, false)) : std::nullopt; };
    settings_.add_bos_token = flag("add_bos_token");
    settings_.add_eos_token = flag("add_eos_token");
    settings_.add_prefix_space = flag("add_prefix_space");
    settings_.do_lower_case = flag("do_lower_case");
    settings_.strip_accents = flag("strip_accents");
    settings_.tokenize_chinese_chars = flag("tokenize_chinese_chars");
    settings_.legacy = flag("legacy");
    settings_.keep_accents = flag("keep_accents");
    settings_.split_by_punct = flag("split_by_punct");
    settings_.fix_mistral_regex = flag("fix_mistral_regex").value_or(false);
    settings_.split_special_tokens = flag("split_special_tokens").value_or(false);
    settings_.clean_up_tokenization_spaces = flag("clean_up_tokenization_spaces").value_or(false);
    require_booleans(reader);
  }

  /// Warns of settings that cannot be followed.
  static void require_booleans(const JsonReader& reader) {
    if (reader.has("auto_map")) {
      log::warn("[" + reader.where() + "] auto_map names Python code for the tokenizer, which is not run: only the files are used");
    }
    if (reader.has("fast_tokenizer_files") && reader.at("fast_tokenizer_files") != Json::array({"tokenizer.json"})) {
      log::warn("[" + reader.where() + "] fast_tokenizer_files is not followed: tokenizer.json is used");
    }
  }

  /// Every key "…_token"; a later file overrides an earlier one.
  void take_tokens(const Json& object, const std::string& where) {
    for (const auto& [key, value] : object.items()) {
      const bool may_be_token = value.is_string() || value.is_object() || value.is_null();
      if (!key.ends_with("_token") || value.is_boolean() || (!is_role(key) && !may_be_token)) {
        continue;  // add_bos_token, and values that are not tokens
      }
      const auto found = std::find_if(settings_.roles.begin(), settings_.roles.end(), [&](const auto& role) { return role.first == key; });
      RoleToken& role = found != settings_.roles.end() ? *found : settings_.roles.emplace_back(key, std::nullopt);
      role.second = value.is_null() ? std::nullopt : std::optional(read_named_token(value, key, where));
    }
  }

  /// Lists of tokens, and objects that map roles to tokens.
  void take_extra(const Json& object, const std::string& where) {
    for (const char* list : kLists) {
      const auto found = object.find(list);
      if (found == object.end() || !found->is_structured() || found->empty() || (list == kLists[1] && !settings_.extra.empty())) {
        continue;
      }
      for (const auto& [key, token] : found->items()) {
        AddedToken named = read_named_token(token, list, where);
        if (found->is_object()) {
          settings_.roles.emplace_back(key, std::move(named));
        } else {
          settings_.extra.push_back(std::move(named));
        }
      }
    }
  }

  /// {"32000": {"content": "<pad>", …}, …}
  void take_decoder(const Json& tokens) {
    const std::string where = path("tokenizer_config.json");
    if (!tokens.is_object()) {
      model_error(where, "added_tokens_decoder: found " + type_name(tokens) + ", expected an object that maps ids to tokens");
    }
    for (const auto& [key, token] : tokens.items()) {
      int64_t id = -1;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
      if (error != std::errc() || end != key.data() + key.size()) {
        model_error(where, "added_tokens_decoder: found the key " + printable(key) + ", expected an id");
      }
      if (token.is_string()) {
        add(id, AddedToken{token.get<std::string>()}, where);
      } else {
        token_content(token, "added_tokens_decoder." + key, where);
        add(id, read_added_token(token, where + ": added_tokens_decoder." + key), where);
      }
    }
  }

  void take_older_files() {
    const Json map = read_object("special_tokens_map.json");
    take_tokens(map, path("special_tokens_map.json"));
    take_extra(map, path("special_tokens_map.json"));
    const Json tokens = read_object("added_tokens.json");
    const std::string where = path("added_tokens.json");
    for (const auto& [name, id] : tokens.items()) {
      if (!id.is_number_integer()) {
        model_error(where, printable(name) + ": found " + shown(id) + ", expected an id");
      }
      AddedToken token{name};
      const auto has_name = [&name = name](const AddedToken& extra) { return extra.content == name; };
      token.special = settings_.has_role(name) || std::any_of(settings_.extra.begin(), settings_.extra.end(), has_name);
      token.normalized = !token.special;
      add(id.get<int64_t>(), token, where);
    }
  }

  void add(int64_t id, const AddedToken& token, const std::string& where) {
    if (id < 0 || id >= kMaxTokenId) {
      model_error(where, "the added token " + printable(token.content) + " has the impossible id " + std::to_string(id));
    }
    settings_.added[id] = token;
  }

  /// config.json may name the class if tokenizer_config.json does not, and the ids of BOS and EOS that no other file names.
  void take_model_config(const Json& tokenizer_config) {
    const fs::path file = folder_ / "config.json";
    const Json config = is_file(file) ? read_json(file, ErrorKind::kModel) : Json::object();
    settings_.is_older_mistral = is_file(file) && is_older_mistral(config);
    settings_.tokenizer_class = find_tokenizer_class(tokenizer_config, config, folder_ / "tokenizer.json");
    settings_.bos_id = settings_.says("bos_token") ? std::nullopt : read_id(config, "bos_token_id");
    settings_.eos_id = settings_.says("eos_token") ? std::nullopt : read_id(config, "eos_token_id");
  }

  /// The id at `key`; if it is a list, its first id.
  static std::optional<int32_t> read_id(const Json& config, const std::string& key) {
    const auto found = config.is_object() ? config.find(key) : config.end();
    if (found == config.end()) {
      return std::nullopt;
    }
    const Json& id = found->is_array() && !found->empty() ? found->front() : *found;
    const bool is_id = id.is_number_integer() && id.get<int64_t>() >= 0 && id.get<int64_t>() < kMaxTokenId;
    return is_id ? std::optional(id.get<int32_t>()) : std::nullopt;
  }

  fs::path folder_;
  FolderSettings settings_;
};

}  // namespace

const AddedToken* FolderSettings::role(const std::string& name) const {
  for (const auto& [role, token] : roles) {
    if (role == name && token) {
      return &*token;
    }
  }
  return nullptr;
}

bool FolderSettings::says(const std::string& name) const {
  return std::any_of(roles.begin(), roles.end(), [&name](const RoleToken& role) { return role.first == name; });
}

bool FolderSettings::has_role(const std::string& content) const {
  return std::any_of(roles.begin(), roles.end(),
                     [&content](const RoleToken& role) { return is_role(role.first) && role.second && role.second->content == content; });
}

std::vector<const AddedToken*> FolderSettings::special_tokens() const {
  std::vector<const AddedToken*> tokens;
  for (const auto& [role, token] : roles) {
    if (token) {
      tokens.push_back(&*token);
    }
  }
  for (const AddedToken& token : extra) {
    tokens.push_back(&token);
  }
  return tokens;
}

void FolderSettings::name_tokens(std::map<std::string, std::string>& names) const {
  for (const auto& [role, token] : roles) {
    if (token) {
      names[role] = token->content;
    } else {
      names.erase(role);
    }
  }
}

void FolderSettings::order_roles() {
  const auto rank = [](const RoleToken& role) { return std::find(std::begin(kRoles), std::end(kRoles), role.first) - std::begin(kRoles); };
  std::stable_sort(roles.begin(), roles.end(), [&rank](const RoleToken& a, const RoleToken& b) { return rank(a) < rank(b); });
}

std::string token_content(const Json& token, const std::string& key, const std::string& where) {
  if (token.is_string()) {
    return token.get<std::string>();
  }
  if (token.is_object() && token.contains("content") && token["content"].is_string()) {
    return token["content"].get<std::string>();
  }
  model_error(where, key + ": found " + type_name(token) + ", expected a string or an object with a string \"content\"");
}

FolderSettings read_folder_settings(const fs::path& folder) {
  return SettingsReader(folder).read();
}

}  // namespace lora::tokenizer
