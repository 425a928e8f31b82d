#pragma once
#include <optional>
#include <string>
#include <vector>

#include "lora/peft/adapter_folder.h"

namespace lora::peft {

/// How the names of an adapter's modules become those of a base whose module tree differs: the adapter is of the body only, or of the
/// same model within another one. Only the prefix of a name changes.
struct ModuleRenaming {
  std::string from;
  std::string to;

  /// The base's name of a module; a name with another prefix is unchanged.
  std::string of(const std::string& module) const;
  /// The adapter's name of a module of the base.
  std::string reversed(const std::string& module) const;
};

/// The change of one prefix after which each of `modules` is a module of the base. Nothing if every name already is one, or if there is no
/// such change.
std::optional<ModuleRenaming> find_renaming(const std::vector<std::string>& modules, const std::vector<std::string>& base_modules);

/// Every module of the base, with the name that the adapter has for it.
/// @param modules names of the adapter's modules; those that are names of the base are unchanged.
std::vector<RenamedModule> renamed_modules(const ModuleRenaming& renaming, const std::vector<std::string>& modules,
                                           const std::vector<std::string>& base_modules);

/// PEFT's rule for an entry of a list of modules: the whole name, or the end of it after a '.'.
bool is_name_or_suffix(const std::string& module, const std::string& entry);

/// Logs the change in one line. @param where the adapter's file.
void warn_of_renaming(const ModuleRenaming& renaming, const std::string& where);

}  // namespace lora::peft
