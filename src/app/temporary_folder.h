#pragma once
#include <filesystem>

namespace lora::app {

/// A new folder for temporary files, which is deleted with its contents when the object is destroyed.
class TemporaryFolder {
 public:
  /// In TMPDIR, or /tmp. Throws output Error if nothing can be created there.
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace lora::app
