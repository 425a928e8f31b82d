#include <set>

#include "lora/peft/adapter.h"
#include "peft/module_names.h"
#include "peft/renamed_options.h"

namespace lora::peft {

namespace {

std::vector<std::string> module_names_of(const Adapter& adapter) {
  std::set<std::string> modules;
  for (const AdapterUpdate& update : adapter.updates) {
    modules.insert(module_of(update));
  }
  return {modules.begin(), modules.end()};
}

/// @param rename_one from a module's old name to its new one.
/// @param modules those that the options must choose as before.
void rename_all(Adapter& adapter, const std::function<std::string(const std::string&)>& rename_one,
                const std::vector<RenamedModule>& modules) {
  for (AdapterUpdate& update : adapter.updates) {
    rename_module(update, rename_one(module_of(update)));
  }
  adapter.options = renamed_options(std::move(adapter.options), modules);
}

}  // namespace

void align(Adapter& adapter, const std::vector<std::string>& base_modules) {
  const std::vector<std::string> own = module_names_of(adapter);
  const std::optional<ModuleRenaming> renaming = find_renaming(own, base_modules);
  if (!renaming) {
    return;
  }
  warn_of_renaming(*renaming, adapter.weights_file.string());
  const std::set<std::string> known(base_modules.begin(), base_modules.end());
  rename_all(
      adapter, [&](const std::string& module) { return known.count(module) > 0 ? module : renaming->of(module); },
      renamed_modules(*renaming, own, base_modules));
}

bool rename_modules(Adapter& adapter, const std::function<std::string(const std::string& module)>& rename_one) {
  std::vector<RenamedModule> modules;
  bool has_changed = false;
  for (const std::string& module : module_names_of(adapter)) {
    modules.push_back({module, rename_one(module)});
    has_changed = has_changed || modules.back().new_name != module;
  }
  rename_all(adapter, rename_one, modules);
  return has_changed;
}

void list_targets(LoraOptions& options) {
  options.target_modules = {};
  options.exclude_modules = {};
  forget_layers(options);
}

}  // namespace lora::peft
