#include "rename_modules.h"

#include <set>

#include "lora/base/error.h"
#include "lora/base/regex.h"

namespace lora::app {

namespace {

/// Applies `rename` to each name in the adapter. Returns whether any changed.
template <typename Rename>
bool rename_all(peft::Adapter& adapter, const Rename& rename) {
  bool changed = false;
  const auto apply = [&](std::string& name) {
    std::string renamed = rename(name);
    changed = changed || renamed != name;
    name = std::move(renamed);
  };
  for (peft::LowRankUpdate& update : adapter.updates) {
    apply(update.module);
  }
  for (peft::HeldTensor& held : adapter.replaced) {
    apply(held.name);
  }
  return changed;
}

void require_distinct(const peft::Adapter& adapter) {
  std::set<std::string> names;
  for (const peft::LowRankUpdate& update : adapter.updates) {
    if (!names.insert(update.module).second) {
      config_error("--rename", "gives two modules the name '" + update.module + "'");
    }
  }
}

}  // namespace

void rename_modules(peft::Adapter& adapter, const std::vector<std::string>& rules) {
  for (const std::string& rule : rules) {
    const size_t equals = rule.rfind('=');
    if (equals == std::string::npos || equals == 0) {
      config_error("--rename", "found '" + rule + "', expected REGEX=REPLACEMENT, for example '^model\\.='");
    }
    const Regex pattern(rule.substr(0, equals), "--rename", ErrorKind::kConfig);
    if (!rename_all(adapter, [&](const std::string& name) { return pattern.replaced(name, rule.substr(equals + 1)); })) {
      config_error("--rename", "matches no module: found '" + rule + "', and modules such as " +
                                   (adapter.updates.empty() ? "none" : "'" + adapter.updates.front().module + "'"));
    }
    for (std::string& entry : adapter.options.modules_to_save) {
      entry = pattern.replaced(entry, rule.substr(equals + 1));
    }
    adapter.base_fingerprint.clear();
  }
  require_distinct(adapter);
  // The old names and patterns would match nothing: the targets are listed again from the modules.
  adapter.options.target_modules = {};
  adapter.options.exclude_modules = {};
  adapter.options.layers_to_transform.reset();
  adapter.options.layers_pattern.clear();
}

}  // namespace lora::app
