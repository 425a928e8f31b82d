#include "config/old_names.h"

#include <algorithm>
#include <set>

#include "lora/base/log.h"
#include "lora/base/regex.h"
#include "lora/base/text.h"
#include "lora/peft/adapter_folder.h"

namespace lora::config {

namespace {

using peft::LoraOptions;
using Names = std::vector<std::string>;
template <typename T>
using Pattern = std::vector<std::pair<std::string, T>>;

enum class Release { kBefore0_6, kBefore0_14, k0_14, kLater };

/// PEFT writes every key that it knows, so that the first missing one shows the release. Files of other programs have today's meaning.
Release release_of(const Json& config) {
  const bool is_of_peft = config.contains("inference_mode") && config.contains("fan_in_fan_out") && !config.contains("peft_version");
  if (!is_of_peft || config.contains("trainable_token_indices")) {
    return Release::kLater;
  }
  if (!config.contains("rank_pattern")) {
    return Release::kBefore0_6;
  }
  if (!config.contains("exclude_modules")) {
    return Release::kBefore0_14;
  }
  return config.contains("eva_config") ? Release::k0_14 : Release::kLater;
}

bool is_end(const std::string& name, const std::string& entry) {
  return ("." + name).ends_with("." + entry);
}

bool is_plain(const std::string& key) {
  return key.find_first_of("^$|()[]{}*+?\\") == std::string::npos;
}

/// The expression, for whole names, of what PEFT before 0.15 passed to re.match: it ends with $, but without a group around the key.
std::string old_expression(const std::string& key) {
  return "^(?:.*\\." + key + "$).*";
}

/// Whether the order or the form of the keys can give other modules by the old rules.
bool may_differ(const Names& keys) {
  const auto overlaps = [&keys](const std::string& key) {
    return std::any_of(keys.begin(), keys.end(), [&key](const std::string& other) { return other != key && is_end(other, key); });
  };
  return std::any_of(keys.begin(), keys.end(), [&](const std::string& key) { return !is_plain(key) || overlaps(key); });
}

template <typename T>
Names keys_of(const Pattern<T>& pattern) {
  Names keys;
  for (const auto& [key, value] : pattern) {
    keys.push_back(key);
  }
  return keys;
}

/// @param keys in the order in which the old release tried them: the first that matched gave the value, or `fallback`.
template <typename T>
Pattern<T> restated(const Names& keys, const Pattern<T>& given, T fallback) {
  Pattern<T> result;
  for (const std::string& key : keys) {
    const auto own = std::find_if(given.begin(), given.end(), [&key](const auto& entry) { return entry.first == key; });
    result.emplace_back(old_expression(key), own == given.end() ? fallback : own->second);
  }
  for (const auto& [key, value] : given) {
    if (is_plain(key)) {
      result.emplace_back("^" + key, value);  // a whole name counted where no expression matched
    }
  }
  return result;
}

void restate_patterns(Release release, LoraOptions& options, const ConfigPlace& file) {
  Names of_rank = keys_of(options.rank_pattern);
  Names of_alpha = keys_of(options.alpha_pattern);
  if (release != Release::k0_14) {  // one key for both values
    of_rank.insert(of_rank.end(), of_alpha.begin(), of_alpha.end());
    of_alpha = of_rank;
  }
  if (!may_differ(of_rank) && !may_differ(of_alpha)) {
    return;
  }
  if (!options.rank_pattern.empty()) {
    options.rank_pattern = restated(of_rank, options.rank_pattern, options.r);
  }
  if (!options.alpha_pattern.empty()) {
    options.alpha_pattern = restated(of_alpha, options.alpha_pattern, options.lora_alpha);
  }
  log::warn("[" + file.key("rank_pattern").path +
            "] was written by PEFT before 0.15, whose rank_pattern and alpha_pattern choose modules by other rules: using the old rules");
}

/// The modules of the file's pairs that no entry names by today's rule.
Names unnamed_modules(const std::filesystem::path& folder, const Names& entries) {
  std::set<std::string> modules;
  const peft::AdapterFolder stored(folder);
  for (const auto& [name, tensor] : stored.tensors()) {
    const auto names_it = [&module = tensor.module](const std::string& entry) { return is_end(module, entry); };
    if (peft::is_of_pair(tensor.role) && std::none_of(entries.begin(), entries.end(), names_it)) {
      modules.insert(tensor.module);
    }
  }
  return {modules.begin(), modules.end()};
}

/// PEFT 0.3 and 0.4 take any end of a name, PEFT 0.5 an expression for the parts after a '.'. The file shows which modules were chosen.
void restate_targets(const std::filesystem::path& folder, LoraOptions& options, const ConfigPlace& file) {
  Names& entries = options.target_modules.names;
  std::set<std::string> replaced, added;
  for (const std::string& module : unnamed_modules(folder, entries)) {
    const auto chooses = [&](const std::string& entry) {
      return module.ends_with(entry) ||
             Regex(old_expression(entry), file.key("target_modules").path, ErrorKind::kModel).matches_whole(module);
    };
    const auto entry = std::find_if(entries.begin(), entries.end(), chooses);
    if (entry != entries.end()) {
      replaced.insert(*entry);
      added.insert(entry->find('.') == std::string::npos ? module.substr(module.rfind('.') + 1) : module);
    }
  }
  if (added.empty()) {
    return;
  }
  log::warn("[" + file.key("target_modules").path + "] is of PEFT before 0.6, where it chose modules by other rules: " +
            join({replaced.begin(), replaced.end()}) + " stands for " + join({added.begin(), added.end()}));
  for (const std::string& name : added) {
    if (std::find(entries.begin(), entries.end(), name) == entries.end()) {
      entries.push_back(name);
    }
  }
}

}  // namespace

void restate_old_names(const Json& config, const std::filesystem::path& folder, LoraOptions& options, const ConfigPlace& file) {
  const Release release = release_of(config);
  if (release == Release::kBefore0_6 && options.target_modules.kind == peft::ModuleChoice::Kind::kList) {
    restate_targets(folder, options, file);
  } else if (release == Release::kBefore0_14 || release == Release::k0_14) {
    restate_patterns(release, options, file);
  }
}

}  // namespace lora::config
