#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/row_set.h"

namespace lora::data {

/// The examples of one set on disk, in a safetensors file named after their key (cache_key), with a SHA-256 of their own:
/// what is damaged is noticed and made anew. Files are written whole or not at all, and all that write one write the same
/// bytes, so several processes may share a folder. Nothing here is fatal: without the cache the rows are read.
class DatasetCache {
 public:
  DatasetCache(const std::filesystem::path& folder, std::string key);

  /// What was kept, as reading the files would give it, warnings for files without rows too; nothing where there is no such
  /// file or, with a warning, where it is damaged.
  std::optional<RowSet> load(const std::vector<SourceOptions>& sources, const std::vector<PlannedFile>& files,
                             const std::vector<std::string>& hashes) const;
  /// Warns if it cannot.
  void save(const RowSet& set, const std::vector<PlannedFile>& files) const;

  const std::filesystem::path& file() const { return file_; }

 private:
  std::filesystem::path file_;
  std::string key_;
};

}  // namespace lora::data
