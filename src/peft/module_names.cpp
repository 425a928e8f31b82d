#include "peft/module_names.h"

#include <algorithm>
#include <set>

#include "lora/base/log.h"
#include "lora/base/text.h"

namespace lora::peft {

namespace {

std::string joined(const std::vector<std::string>& parts, size_t begin, size_t end) {
  return join({parts.begin() + static_cast<std::ptrdiff_t>(begin), parts.begin() + static_cast<std::ptrdiff_t>(end)}, ".");
}

/// The name with the prefix `from` replaced by `to`; a name with another prefix is unchanged.
std::string with_beginning(const std::string& module, const std::string& from, const std::string& to) {
  if (!from.empty() && !module.starts_with(from + ".")) {
    return module;
  }
  const std::string rest = from.empty() ? module : module.substr(from.size() + 1);
  return to.empty() ? rest : to + "." + rest;
}

/// Whether the name has a number, which counts layers: no renaming may change it.
bool has_number(const std::string& module) {
  const std::vector<std::string> parts = split(module, '.');
  return std::any_of(parts.begin(), parts.end(),
                     [](const std::string& part) { return !part.empty() && part.find_first_not_of("0123456789") == std::string::npos; });
}

/// The renaming to the only module of the base that shares the longest end of this name.
std::optional<ModuleRenaming> renaming_of(const std::string& module, const std::set<std::string>& base_modules) {
  const std::vector<std::string> parts = split(module, '.');
  for (size_t cut = 0; cut < parts.size(); ++cut) {
    const std::string end = joined(parts, cut, parts.size());
    std::vector<std::string> matches;
    for (const std::string& other : base_modules) {
      if (other == end || other.ends_with("." + end)) {
        matches.push_back(other);
      }
    }
    if (matches.size() == 1) {
      const std::string& match = matches.front();
      const ModuleRenaming renaming{joined(parts, 0, cut),
                                    match.size() == end.size() ? "" : match.substr(0, match.size() - end.size() - 1)};
      return has_number(renaming.from) || has_number(renaming.to) ? std::nullopt : std::optional(renaming);
    }
  }
  return std::nullopt;
}

}  // namespace

std::string ModuleRenaming::of(const std::string& module) const {
  return with_beginning(module, from, to);
}

std::string ModuleRenaming::reversed(const std::string& module) const {
  return with_beginning(module, to, from);
}

std::optional<ModuleRenaming> find_renaming(const std::vector<std::string>& modules, const std::vector<std::string>& base_modules) {
  const std::set<std::string> known(base_modules.begin(), base_modules.end());
  std::optional<ModuleRenaming> renaming;
  std::set<std::string> renamed;
  for (const std::string& module : modules) {
    const bool is_known = known.count(module) > 0;
    if (!is_known && !renaming) {
      renaming = renaming_of(module, known);
    }
    const std::string name = is_known || !renaming ? module : renaming->of(module);
    if (known.count(name) == 0 || !renamed.insert(name).second) {
      return std::nullopt;
    }
  }
  return renaming;
}

std::vector<RenamedModule> renamed_modules(const ModuleRenaming& renaming, const std::vector<std::string>& modules,
                                           const std::vector<std::string>& base_modules) {
  const std::set<std::string> own(modules.begin(), modules.end());
  std::vector<RenamedModule> result;
  for (const std::string& name : base_modules) {
    result.push_back({own.count(name) > 0 ? name : renaming.reversed(name), name});
  }
  return result;
}

bool is_name_or_suffix(const std::string& module, const std::string& entry) {
  return module == entry || module.ends_with("." + entry);
}

void warn_of_renaming(const ModuleRenaming& renaming, const std::string& where) {
  const std::string change = renaming.from.empty() ? "adding '" + renaming.to + ".' at the beginning"
                             : renaming.to.empty() ? "removing '" + renaming.from + ".' at the beginning"
                                                   : "reading '" + renaming.from + ".' as '" + renaming.to + ".'";
  log::warn("[" + where + "] has other module names than this base: " + change);
}

}  // namespace lora::peft
