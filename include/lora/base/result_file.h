#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "lora/base/file.h"

namespace lora {

/// A file that a user named for a result. How it is written depends on what exists at that path: a missing or regular file is replaced by
/// the whole result at the end; for a link, the file that it points to is replaced; a pipe, a terminal or a device such as /dev/null is
/// written to while the result is produced, and is kept.
class ResultFile {
 public:
  /// Creates missing parent folders. Throws output Error if the path cannot be written (a folder, a socket, a block device), or if it is
  /// one of `inputs` or in a folder among them; in such a folder, only new files of rows (.jsonl) may be created.
  ResultFile(const fs::path& named, const std::vector<fs::path>& inputs);
  /// The same check for inputs that become known later.
  void must_not_replace(const std::vector<fs::path>& inputs) const;

  /// Throws output Error. `produce` gets a function that appends bytes.
  void write(const std::function<void(const Append&)>& produce) const;
  void write(std::string_view content) const;

  /// The path as the user wrote it.
  std::string name() const { return named_.string(); }
  /// The path of the file itself, with links resolved. For code that writes whole files: throws output Error for a pipe or a device.
  const fs::path& whole_file() const;

 private:
  fs::path named_;
  fs::path target_;
  bool is_stream_ = false;
};

}  // namespace lora
