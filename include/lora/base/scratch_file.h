#pragma once
#include <cstddef>
#include <filesystem>
#include <string>

namespace lora {

/// Zeros in a file that lasts as long as this object, mapped so that writes go to the file: memory that the system can write to disk
/// when it needs the room. The file is `folder`/`name`-<number>.bin with the first free number, is locked while it is in use, and begins
/// with a page that says what it is. A file that a killed process has left is recognised by that page and by its lock, which nobody
/// holds, and is removed; no other file is touched.
class ScratchFile {
 public:
  /// Creates the folder if it does not exist, and takes room on the disk for all of the file, so that no later write can fail.
  /// Throws output Error if the folder cannot be written, the disk has too little room, or the file cannot be mapped.
  ScratchFile(const std::filesystem::path& folder, const std::string& name, size_t size);
  /// Removes the file.
  ~ScratchFile();
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// The first of `size` bytes, at the start of a page.
  std::byte* data() const { return data_; }
  /// Tells the system that this process does not need the bytes for now. They stay in the file, and in memory where there is room.
  void release() const;

  /// Size of the file that holds `size` bytes.
  static size_t file_size(size_t size);

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  size_t size_ = 0;
  std::byte* data_ = nullptr;
};

}  // namespace lora
