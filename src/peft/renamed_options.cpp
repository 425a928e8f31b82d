#include "peft/renamed_options.h"

#include <algorithm>
#include <functional>
#include <set>

#include "lora/base/regex.h"
#include "lora/peft/task.h"
#include "peft/layer_filter.h"
#include "peft/targets.h"

namespace lora::peft {

namespace {

/// Whether an entry of the config chooses the module of this name.
using Chooses = std::function<bool(const std::string& module)>;

class Renamer {
 public:
  explicit Renamer(const std::vector<RenamedModule>& modules) : modules_(modules) {}

  /// The new names of what the entry chooses, or nothing where the entry itself still chooses the same.
  std::vector<std::string> spelt_out(const Chooses& chooses) const {
    std::set<std::string> old_choice, new_choice;
    std::vector<std::string> names;
    for (const RenamedModule& module : modules_) {
      if (chooses(module.old_name) && old_choice.insert(module.new_name).second) {
        names.push_back(module.new_name);
      }
      if (chooses(module.new_name)) {
        new_choice.insert(module.new_name);
      }
    }
    return old_choice == new_choice ? std::vector<std::string>() : names;
  }

  /// @param chooses whether an entry chooses a module.
  std::vector<std::string> entries(const std::vector<std::string>& given,
                                   const std::function<bool(const std::string& entry, const std::string& module)>& chooses) const {
    std::vector<std::string> result;
    for (const std::string& entry : given) {
      const std::vector<std::string> names = spelt_out([&](const std::string& module) { return chooses(entry, module); });
      names.empty() ? result.push_back(entry) : void(result.insert(result.end(), names.begin(), names.end()));
    }
    return result;
  }

  ModuleChoice choice(ModuleChoice given, const LayerFilter& layers, const char* where) const {
    if (given.kind == ModuleChoice::Kind::kRegex) {
      const Regex regex(given.regex, where, ErrorKind::kConfig);
      const std::vector<std::string> names = spelt_out([&](const std::string& module) { return regex.matches_whole(module); });
      return names.empty() ? given : ModuleChoice{ModuleChoice::Kind::kList, names, ""};
    }
    given.names = entries(given.names, [&](const std::string& entry, const std::string& module) {
      return module == entry || (is_name_or_suffix(module, entry) && layers.accepts(module));
    });
    return given;
  }

  template <typename T>
  std::vector<std::pair<std::string, T>> pattern(const std::vector<std::pair<std::string, T>>& given, const char* where) const {
    std::vector<std::pair<std::string, T>> result;
    std::set<std::string> done;  // the first match counts
    for (const auto& [key, value] : given) {
      const Regex regex = pattern_regex(key, where);
      const std::vector<std::string> names = spelt_out([&](const std::string& module) { return regex.matches_whole(module); });
      if (names.empty()) {
        result.emplace_back(key, value);
      }
      for (const std::string& name : names) {
        if (done.insert(name).second) {
          result.emplace_back(name, value);
        }
      }
    }
    return result;
  }

 private:
  const std::vector<RenamedModule>& modules_;
};

/// Whether the options choose their targets only by whole names of modules, to which layers_to_transform does not apply.
bool lists_whole_names(const LoraOptions& options, const std::vector<RenamedModule>& modules) {
  const auto is_whole = [&modules](const std::string& entry) {
    return std::any_of(modules.begin(), modules.end(), [&entry](const RenamedModule& module) { return module.new_name == entry; });
  };
  const ModuleChoice& targets = options.target_modules;
  return targets.kind == ModuleChoice::Kind::kList && std::all_of(targets.names.begin(), targets.names.end(), is_whole);
}

}  // namespace

LoraOptions renamed_options(LoraOptions options, const std::vector<RenamedModule>& modules) {
  const Renamer renamer(modules);
  options.target_modules = renamer.choice(options.target_modules, LayerFilter(options), "adapter.target_modules");
  options.exclude_modules = renamer.choice(options.exclude_modules, LayerFilter(LoraOptions()), "adapter.exclude_modules");
  options.rank_pattern = renamer.pattern(options.rank_pattern, "adapter.rank_pattern");
  options.alpha_pattern = renamer.pattern(options.alpha_pattern, "adapter.alpha_pattern");
  options.modules_to_save = renamer.entries(
      options.modules_to_save, [](const std::string& entry, const std::string& module) { return is_within(module, entry); });
  for (TokenIndices& indices : options.trainable_token_indices) {
    const auto is_layer = [&](const std::string& module) { return module.ends_with(indices.layer); };
    const std::vector<std::string> names = indices.layer.empty() ? std::vector<std::string>() : renamer.spelt_out(is_layer);
    indices.layer = names.empty() ? indices.layer : names.front();
  }
  if (lists_whole_names(options, modules)) {
    forget_layers(options);
  }
  return options;
}

void forget_layers(LoraOptions& options) {
  options.layers_to_transform.reset();
  options.layers_pattern.clear();
  if (options.config.is_object()) {
    options.config.erase("layers_to_transform");
    options.config.erase("layers_pattern");
  }
}

}  // namespace lora::peft
