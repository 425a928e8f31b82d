#include "tokenizer/json/class_pipeline.h"

#include <array>

#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "tokenizer/json/class_builders.h"
#include "tokenizer/json/class_parts.h"
#include "tokenizer/tokenizer_class.h"

namespace lora::tokenizer {
namespace {

/// The corrected pattern for words in Mistral's tokenizers, from transformers.
constexpr const char* kMistralPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+)"
    R"([\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

AddedToken special_token(std::string content) {
  AddedToken token{std::move(content)};
  token.special = true;
  return token;
}

/// Adds the class's default tokens for roles that the files do not mention.
void add_default_tokens(const TokenizerClass& found, FolderSettings& settings) {
  for (const auto& [role, token] : found.tokens) {
    if (!settings.says(role)) {
      settings.roles.emplace_back(role, special_token(token));
    }
  }
  settings.order_roles();
  if (found.name != std::string_view("T5Tokenizer") || !settings.extra.empty()) {
    return;
  }
  constexpr int kSentinels = 100;
  for (int i = 0; i < kSentinels; ++i) {
    settings.extra.push_back(special_token("<extra_id_" + std::to_string(i) + ">"));
  }
}

/// A section without keys that do not change ids, and with defaults written out.
Json essence(const Json& section) {
  Json result = section;
  if (result.is_array()) {
    for (Json& part : result) {
      part = essence(part);
    }
  } else if (result.is_object()) {
    result.erase("trim_offsets");
    result.erase("str_rep");
    if (result.value("type", "") == "ByteLevel" && !result.contains("use_regex")) {
      result["use_regex"] = true;
    }
    for (auto& [key, value] : result.items()) {
      value = key == "pretokenizers" || key == "normalizers" ? essence(value) : value;
    }
  }
  return nlohmann::json(result);  // sorts the keys
}

/// The sections that determine how a text is split, for a comparison.
std::array<Json, 2> cutting_of(const Json& file) {
  return {essence(file.value("normalizer", Json())), essence(file.value("pre_tokenizer", Json()))};
}

void say_what_differs(const std::array<Json, 2>& before, const std::array<Json, 2>& after, const std::string& name,
                      const std::string& where) {
  std::vector<std::string> sections;
  for (size_t i = 0; i < before.size(); ++i) {
    if (before[i] != after[i]) {
      sections.emplace_back(i == 0 ? "normalizer" : "pre_tokenizer");
    }
  }
  if (!sections.empty()) {
    log::info("[" + where + "] " + join(sections, " and ") + ": as transformers' class " + name +
              " builds it, not as in the file (the tokenizer_class TokenizersBackend would use the file's)");
  }
}

/// Calls take(key, flag, its value in the file) for the flags of the config that also occur in the file's components.
template <typename Take>
void for_each_flag(const Json& component, const FolderSettings& settings, const Take& take) {
  if (component.is_array()) {
    for (const Json& part : component) {
      for_each_flag(part, settings, take);
    }
  }
  if (!component.is_object()) {
    return;
  }
  if (component.value("type", "") == "BertNormalizer") {
    take("do_lower_case", settings.do_lower_case, component.value("lowercase", Json()));
    take("strip_accents", settings.strip_accents, component.value("strip_accents", Json()));
    take("tokenize_chinese_chars", settings.tokenize_chinese_chars, component.value("handle_chinese_chars", Json()));
  } else if (component.value("type", "") == "ByteLevel") {
    take("add_prefix_space", settings.add_prefix_space, component.value("add_prefix_space", Json()));
  }
  for (const char* parts : {"normalizers", "pretokenizers"}) {
    for_each_flag(component.value(parts, Json()), settings, take);
  }
}

/// Warns of flags of the config that the class does not use, if the file differs.
void warn_of_unused_flags(const Json& file, const FolderSettings& settings, const std::string& where) {
  for (const char* section : {"normalizer", "pre_tokenizer"}) {
    for_each_flag(file.value(section, Json()), settings, [&](const char* key, std::optional<bool> needed, const Json& has) {
      if (needed && has != *needed) {
        log::warn("[" + where + "] " + key + " is " + (*needed ? "true" : "false") + " in tokenizer_config.json and " + has.dump() +
                  " in this file, which counts, as in transformers' class " + settings.tokenizer_class);
      }
    });
  }
}

/// Whether the vocabulary, including added tokens, has more than 100,000 tokens.
bool is_large(const Json& file, const FolderSettings& settings) {
  constexpr size_t kLimit = 100'000;
  const Json& vocab = file["model"]["vocab"];
  size_t count = vocab.size();
  for (auto added = settings.added.begin(); added != settings.added.end() && count <= kLimit; ++added) {
    count += vocab.is_object() && !vocab.contains(added->second.content) ? 1 : 0;
  }
  return count > kLimit;
}

}  // namespace

std::optional<ClassTraits> apply_class(Json& file, FolderSettings& settings, const std::string& where) {
  const TokenizerClass* found = find_class(settings.tokenizer_class);
  if (found == nullptr) {
    if (const ForeignClass foreign = foreign_class(settings.tokenizer_class); foreign != ForeignClass::kNone) {
      log::warn("[" + where + "] is used unchanged and may give other ids than transformers, whose class " + settings.tokenizer_class +
                (foreign == ForeignClass::kPython
                     ? " is implemented in Python and does not read this file"
                     : " takes only the vocabulary and builds its own normalizer, pre_tokenizer, post_processor and decoder") +
                ". With the tokenizer_class TokenizersBackend in tokenizer_config.json both use the file.");
    } else {
      warn_of_unused_flags(file, settings, where);
    }
    return std::nullopt;
  }
  const Json model = file.contains("model") && file["model"].is_object() ? Json(file["model"].value("type", "")) : Json();
  if (!model.is_string() || (model != "" && model != found->model) || !file["model"].contains("vocab")) {
    log::warn("[" + where + "] is used unchanged: the tokenizer_class " + settings.tokenizer_class + " needs a model of type " +
              found->model + ", and the file has " + shown(model));
    return std::nullopt;
  }
  add_default_tokens(*found, settings);
  const bool has_sections = file.size() > 1;  // a vocabulary without a tokenizer.json has no sections to differ from
  const std::array<Json, 2> before = cutting_of(file);
  ClassTraits traits;
  file["added_tokens"] = Json::array();
  found->build(settings, file, traits);
  if (has_sections) {
    say_what_differs(before, cutting_of(file), found->name, where);
  }
  return traits;
}

void fix_mistral_regex(Json& file, const FolderSettings& settings, const std::string& where) {
  if (!settings.fix_mistral_regex || file.value("pre_tokenizer", Json()).is_null()) {
    return;
  }
  if (!settings.is_older_mistral || !is_large(file, settings)) {
    log::info("[" + where + "] fix_mistral_regex has no effect, as in transformers: it applies to Mistral models of more than 100,000 " +
              "tokens that were saved before transformers 5");
    return;
  }
  Json& old = file["pre_tokenizer"];
  const Json split = split_at(kMistralPattern, "Isolated", /*invert=*/false);
  if (old.is_object() && old.value("type", "") == "Sequence" && !old.value("pretokenizers", Json::array()).empty()) {
    old["pretokenizers"][0] = split;
  } else {
    const bool is_metaspace = old.is_object() && old.value("type", "") == "Metaspace";
    const Json rest = is_metaspace ? byte_level(/*add_prefix_space=*/false, /*use_regex=*/false) : old;
    old = sequence_of("pretokenizers", Json::array({split, rest}));
  }
  log::info("[" + where + "] pre_tokenizer: with Mistral's corrected pattern, as fix_mistral_regex in tokenizer_config.json asks");
}

}  // namespace lora::tokenizer
