#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/row_set.h"

namespace lora::data {

/// The examples of one set on disk, in a safetensors file named after their key (cache_key), with a SHA-256 of its content: a
/// damaged file is detected and rebuilt. Files appear whole or not at all, and every process writes the same bytes to a file, so
/// several processes may share a folder. Failures are never fatal: without the cache the rows are read.
class DatasetCache {
 public:
  DatasetCache(const std::filesystem::path& folder, std::string key);

  /// The cached rows, with the same warnings for files without rows as reading them; nothing if there is no such file or, with a
  /// warning, if it is damaged.
  std::optional<RowSet> load(const std::vector<SourceOptions>& sources, const std::vector<PlannedFile>& files,
                             const std::vector<std::string>& hashes) const;
  /// Only warns on failure.
  void save(const RowSet& set, const std::vector<PlannedFile>& files) const;

  const std::filesystem::path& file() const { return file_; }

 private:
  std::filesystem::path file_;
  std::string key_;
};

}  // namespace lora::data
