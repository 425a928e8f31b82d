#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "lora/base/file.h"

namespace lora {

/// A file that a user named for a result. What is there decides how it is written: nothing or a regular file is replaced by the whole
/// result at the end; of a link, the file that it points to is; a pipe, a terminal or a device such as /dev/null is written to as the
/// result is made, and stays.
class ResultFile {
 public:
  /// Makes the file's parents where they are missing. Throws output Error where nothing can be written (a folder, a socket, a disk), and
  /// where the file is one of `inputs` or a part of a folder among them: there a result may be a new file of rows (.jsonl) alone.
  ResultFile(const fs::path& named, const std::vector<fs::path>& inputs);
  /// The same check, for inputs that are known later.
  void must_not_replace(const std::vector<fs::path>& inputs) const;

  /// Throws output Error. `produce` gets a function that appends bytes.
  void write(const std::function<void(const Append&)>& produce) const;
  void write(std::string_view content) const;

  /// As the user named it.
  std::string name() const { return named_.string(); }
  /// The file itself, links followed. For writers of whole files: throws output Error where there is something that is not replaced.
  const fs::path& whole_file() const;

 private:
  fs::path named_;
  fs::path target_;
  bool is_stream_ = false;
};

}  // namespace lora
