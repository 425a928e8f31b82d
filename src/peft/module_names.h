#pragma once
#include <optional>
#include <string>
#include <vector>

namespace lora::peft {

/// How the names of an adapter's modules become those of a base that is put together otherwise: the body alone, or the same model
/// within another one. Only the beginning of a name changes.
struct ModuleRenaming {
  std::string from;
  std::string to;

  /// The base's name of a module; names that do not begin so stay.
  std::string of(const std::string& module) const;
};

/// The one change of beginnings after which each of `modules` is one of the base; none: every name is the base's already, or there is
/// no such change.
std::optional<ModuleRenaming> find_renaming(const std::vector<std::string>& modules, const std::vector<std::string>& base_modules);

/// Says so in a line. @param where the adapter's file.
void warn_of_renaming(const ModuleRenaming& renaming, const std::string& where);

}  // namespace lora::peft
