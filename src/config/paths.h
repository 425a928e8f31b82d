#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "lora/config/run_config.h"

namespace lora::config {

/// The base of relative paths in the config.
struct Context {
  std::filesystem::path folder;  ///< of the config file, absolute
  std::filesystem::path file;    ///< the config file, absolute
  const Surroundings& surroundings;
};

/// `path` made absolute by the config file's folder, without "." and "..", without a trailing slash.
std::filesystem::path absolute_path(const Context& context, const std::filesystem::path& path);

/// A folder of a model or tokenizer, and how the resolved config writes it.
struct ModelFolder {
  std::filesystem::path path;
  std::string written;                ///< the absolute path, or "org/name" as it is
  std::vector<std::string> searched;  ///< where a name such as "org/name" was searched for without success; otherwise empty
};

/// The folder of `name`: a path, or "org/name" in a hub cache.
ModelFolder find_model(const Context& context, const std::string& name);

/// Whether both are the same folder, by name or through links.
bool is_same_folder(const std::filesystem::path& a, const std::filesystem::path& b);

}  // namespace lora::config
