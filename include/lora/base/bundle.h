#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace lora {

// A model may be one file that holds what others have as a folder: config.json, a tokenizer, a chat template. Such a file is read as if
// it were the folder: "x.gguf/config.json" is a path that read_file, read_json and sha256_of_file know. So whatever reads the files of a
// model needs to know nothing of such a file, as long as it asks the functions below, and not the file system, what there is.

/// Files by name; each is made when it is read.
using BundledFiles = std::map<std::string, std::function<std::string()>>;

/// From now on `bundle` is read as a folder. `open` is called once, when its files are first asked for; it may throw, and must not ask for
/// files of bundles itself.
void add_bundle(const std::filesystem::path& bundle, std::function<BundledFiles()> open);

/// Whether a regular file is at the path, on disk or in a bundle.
bool is_file(const std::filesystem::path& path);
/// Whether the path is a folder, or a bundle.
bool is_folder(const std::filesystem::path& path);
bool is_bundle(const std::filesystem::path& path);
/// The names of a bundle's files, sorted; none for anything else.
std::vector<std::string> bundled_names(const std::filesystem::path& path);
/// The content of a file in a bundle; none if the path is not in a bundle.
std::optional<std::string> bundled_file(const std::filesystem::path& path);

}  // namespace lora
