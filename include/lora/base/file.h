#pragma once
#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "lora/base/error.h"

namespace lora {

namespace fs = std::filesystem;

/// The whole file. Throws Error of `kind` with the system's reason.
std::string read_file(const fs::path& file, ErrorKind kind);

/// Writes all of `content` so that a reader sees the old file or the new one, never a part: temporary file in the
/// same folder, fsync, rename, fsync of the folder. Throws output Error.
void write_file_atomically(const fs::path& file, std::string_view content);

/// Same, for content produced piecewise. `produce` gets a function that appends bytes.
using Append = std::function<void(const void* bytes, size_t size)>;
void write_file_atomically(const fs::path& file, const std::function<void(const Append&)>& produce);

/// Writes a folder that readers see complete or not at all: `fill` gets a temporary folder in the same parent folder; every file in
/// it is fsynced, then it is renamed to `folder`. An existing `folder` is replaced.
void write_folder_atomically(const fs::path& folder, const std::function<void(const fs::path&)>& fill);

/// Creates `folder` and its parents, and checks with a probe file that it is writable. Throws output Error.
void make_writable_folder(const fs::path& folder);

/// The names of what is in a folder, sorted, as far as it can be listed; `error` says what went wrong.
std::vector<std::string> names_in(const fs::path& folder, std::error_code& error);

/// Removes the temporary files and folders of the functions above that killed processes left in `folder`. Call it
/// with the folder's lock held: it cannot tell them from those of a process that is still writing.
void remove_leftovers(const fs::path& folder);

/// A file mapped privately and writable (a write stays in memory). Empty files map to size 0. Throws Error of
/// `kind` if it is no readable regular file.
class MappedFile {
 public:
  MappedFile(const fs::path& file, ErrorKind kind);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  /// Tells the system that the pages of these bytes are not needed for now: they leave memory and are read from the file
  /// again on the next access. What was written to them is lost.
  void release(size_t offset, size_t size) const;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

/// An exclusive lock on a folder (its file `.lock`), held until destruction and released by the system when the
/// process dies. Throws output Error naming the owner's process id if another process holds it.
class FolderLock {
 public:
  explicit FolderLock(const fs::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  fs::path file_;
  int descriptor_ = -1;
};

/// SHA-256 of bytes that are added piece by piece.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void add(const void* bytes, size_t size);
  /// In lower-case hexadecimal. Nothing can be added afterwards.
  std::string hexadecimal();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

/// SHA-256 in lower-case hexadecimal.
std::string sha256(std::string_view bytes);
std::string sha256_of_file(const fs::path& file, ErrorKind kind);

}  // namespace lora
