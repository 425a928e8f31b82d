#include "app/rename_modules.h"

#include <set>

#include "lora/base/error.h"
#include "lora/base/regex.h"

namespace lora::app {

namespace {

void require_distinct(const peft::Adapter& adapter) {
  std::set<std::string> names;
  for (const peft::LowRankUpdate& update : adapter.low_rank()) {
    if (!names.insert(update.module).second) {
      config_error("--rename", "gives two modules the same name '" + update.module + "'");
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
    const auto rename_one = [&](const std::string& name) { return pattern.replaced(name, rule.substr(equals + 1)); };
    const std::vector<peft::LowRankUpdate> updates = adapter.low_rank();
    const std::string example = updates.empty() ? "none" : "'" + updates.front().module + "'";
    if (!peft::rename_modules(adapter, rename_one)) {
      config_error("--rename", "changes no name: found '" + rule + "' and modules such as " + example);
    }
  }
  if (!rules.empty()) {
    require_distinct(adapter);
    adapter.base_fingerprint.clear();
    adapter.base_quantization = {};
    // An entry that names the end of a module's name may mean further modules in the other base.
    peft::list_targets(adapter.options);
  }
}

}  // namespace lora::app
