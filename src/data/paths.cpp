#include "data/paths.h"

#include <algorithm>
#include <filesystem>

#include "lora/base/error.h"
#include "lora/base/text.h"

namespace lora::data {
namespace {

namespace fs = std::filesystem;

bool is_glob(const std::string& part) {
  return part.find_first_of("*?[") != std::string::npos;
}

// Entries of `folder` whose name matches; hidden ones only where the pattern begins with a dot, as in a shell.
std::vector<fs::path> matches_in(const fs::path& folder, const std::string& pattern) {
  std::vector<fs::path> found;
  std::error_code error;
  const fs::directory_iterator entries(folder.empty() ? fs::path(".") : folder, error);
  if (error) {
    return found;  // not a folder, or not readable: no match
  }
  for (const fs::directory_entry& entry : entries) {
    const std::string name = entry.path().filename().string();
    if ((name.front() != '.' || pattern.front() == '.') && matches_glob(pattern, name)) {
      found.push_back(folder / name);
    }
  }
  return found;
}

std::vector<fs::path> expand_glob(const fs::path& pattern) {
  std::vector<fs::path> found{fs::path()};
  for (const fs::path& part : pattern) {
    std::vector<fs::path> next;
    for (const fs::path& base : found) {
      if (is_glob(part.string())) {
        const std::vector<fs::path> matches = matches_in(base, part.string());
        next.insert(next.end(), matches.begin(), matches.end());
      } else {
        next.push_back(base / part);
      }
    }
    found = std::move(next);
  }
  return found;
}

}  // namespace

std::vector<std::string> expand_path(const std::string& path) {
  if (path == "-") {
    return {path};
  }
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::is_directory(status)) {
    data_error(path, "found a folder, expected a file or a glob. Use for example " + (fs::path(path) / "*.jsonl").string() + ".");
  }
  if (fs::exists(status) && !fs::is_regular_file(status) && !fs::is_fifo(status)) {
    data_error(path, "not a regular file: expected a file, a pipe with JSON Lines, or \"-\" for JSON Lines on stdin");
  }
  if (fs::exists(status)) {
    return {path};
  }
  if (!is_glob(path)) {
    data_error(path, "cannot read the file: " + (error ? error.message() : "it does not exist") +
                         ". Relative paths are relative to the config file.");
  }
  if (path.find("**") != std::string::npos) {
    data_error(path, "found \"**\", which is not supported: expected *, ? or [ ] within one part of the path");
  }
  std::vector<std::string> files;
  for (const fs::path& file : expand_glob(path)) {
    if (fs::is_regular_file(file, error)) {
      files.push_back(file.string());
    }
  }
  if (files.empty()) {
    data_error(path, "no file matches this pattern. Relative paths are relative to the config file.");
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace lora::data
