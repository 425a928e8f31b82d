// Reading, and writing so that a reader sees either the old state or the new one.
#include "lora/base/file.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstdio>

#include "base/descriptor.h"
#include "lora/base/input_file.h"

namespace lora {

namespace {

constexpr std::string_view kTemporaryPrefix = ".lora-tmp-";  // short, so that a name of 255 bytes can also be written
constexpr size_t kBufferSize = 1 << 16;

/// A name for a temporary file or folder in the folder of `target` that no other writer of this process uses.
fs::path temporary_next_to(const fs::path& target) {
  static std::atomic<uint64_t> counter{0};
  return target.parent_path() / (std::string(kTemporaryPrefix) + std::to_string(getpid()) + "-" + std::to_string(counter++));
}

fs::path parent_of(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

/// "a/b/" names the folder "a/b", whose parent is "a".
fs::path without_trailing_slash(const fs::path& folder) {
  return !folder.has_filename() && folder.has_relative_path() ? folder.parent_path() : folder;
}

void sync_path(const fs::path& path) {
  const Descriptor descriptor(path, O_RDONLY);
  // Some file systems cannot sync a folder (EINVAL), because they have nothing to sync there.
  if (!descriptor.ok() || (fsync(descriptor.number()) != 0 && errno != EINVAL)) {
    system_error(ErrorKind::kOutput, path, "cannot be flushed to disk");
  }
}

/// Removes a path unless told to keep it.
class Temporary {
 public:
  explicit Temporary(fs::path path) : path_(std::move(path)) {}
  ~Temporary() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// A new file with a small buffer; messages name it as `shown`, the path that the user knows.
class Writer {
 public:
  Writer(const fs::path& file, const fs::path& shown) : shown_(shown), descriptor_(file, O_WRONLY | O_CREAT | O_EXCL, 0666) {
    if (!descriptor_.ok()) {
      system_error(ErrorKind::kOutput, shown_, "cannot be written");
    }
  }

  void append(const void* bytes, size_t size) {
    if (buffer_.size() + size > kBufferSize) {
      flush();
    }
    if (size > kBufferSize) {
      write_all(static_cast<const char*>(bytes), size);
    } else if (size > 0) {
      buffer_.append(static_cast<const char*>(bytes), size);
    }
  }
  void finish() {
    flush();
    if (fsync(descriptor_.number()) != 0 || !descriptor_.close_now()) {
      system_error(ErrorKind::kOutput, shown_, "cannot be written");
    }
  }

 private:
  void flush() {
    write_all(buffer_.data(), buffer_.size());
    buffer_.clear();
  }
  void write_all(const char* bytes, size_t size) {
    while (size > 0) {
      const ssize_t written = write(descriptor_.number(), bytes, size);
      if (written < 0 && errno == EINTR) {
        continue;
      }
      if (written < 0) {
        system_error(ErrorKind::kOutput, shown_, "cannot be written");
      }
      bytes += written;
      size -= static_cast<size_t>(written);
    }
  }

  fs::path shown_;
  Descriptor descriptor_;
  std::string buffer_;
};

/// Replaces `folder` with `made`. Afterwards `made` is the old folder or does not exist.
void exchange_folder(const fs::path& made, const fs::path& folder) {
  if (rename(made.c_str(), folder.c_str()) == 0) {
    return;
  }
  if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR) {
    system_error(ErrorKind::kOutput, folder, "cannot be written");
  }
  if (renameat2(AT_FDCWD, made.c_str(), AT_FDCWD, folder.c_str(), RENAME_EXCHANGE) == 0) {
    return;
  }
  // A file system that cannot exchange two folders: for a moment `folder` does not exist, but the old one is only removed after the
  // new one is in its position.
  const Temporary old(temporary_next_to(folder));
  if (rename(folder.c_str(), old.path().c_str()) != 0) {
    system_error(ErrorKind::kOutput, folder, "cannot be replaced");
  }
  if (rename(made.c_str(), folder.c_str()) != 0) {
    const int reason = errno;
    rename(old.path().c_str(), folder.c_str());
    system_error(ErrorKind::kOutput, folder, "cannot be replaced", reason);
  }
}

}  // namespace

std::string read_file(const fs::path& file, ErrorKind kind) {
  return read_file(file, kind, kTokenizerFile);
}

void write_file_atomically(const fs::path& file, std::string_view content) {
  write_file_atomically(file, [content](const Append& append) { append(content.data(), content.size()); });
}

void write_file_atomically(const fs::path& file, const std::function<void(const Append&)>& produce) {
  const Temporary temporary(temporary_next_to(file));
  Writer writer(temporary.path(), file);
  produce([&writer](const void* bytes, size_t size) { writer.append(bytes, size); });
  writer.finish();
  if (rename(temporary.path().c_str(), file.c_str()) != 0) {
    system_error(ErrorKind::kOutput, file, "cannot be written");
  }
  sync_path(parent_of(file));
}

void write_folder_atomically(const fs::path& folder, const std::function<void(const fs::path&)>& fill) {
  const fs::path target = without_trailing_slash(folder);
  const Temporary temporary(temporary_next_to(target));
  if (mkdir(temporary.path().c_str(), 0777) != 0) {
    system_error(ErrorKind::kOutput, target, "cannot be written");
  }
  fill(temporary.path());
  std::error_code error;
  for (fs::recursive_directory_iterator entry(temporary.path(), error), end; !error && entry != end; entry.increment(error)) {
    if (!entry->is_symlink()) {
      sync_path(entry->path());
    }
  }
  if (error) {
    system_error(ErrorKind::kOutput, target, "cannot be written", error.value());
  }
  sync_path(temporary.path());
  exchange_folder(temporary.path(), target);
  sync_path(parent_of(target));
}

void make_writable_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    system_error(ErrorKind::kOutput, folder, "cannot be created as a folder", error.value());
  }
  const Temporary probe(temporary_next_to(folder / "probe"));
  const Descriptor descriptor(probe.path(), O_WRONLY | O_CREAT | O_EXCL, 0666);
  if (!descriptor.ok()) {
    system_error(ErrorKind::kOutput, folder, "cannot be written to");
  }
}

std::vector<std::string> names_in(const fs::path& folder, std::error_code& error) {
  std::vector<std::string> names;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

void remove_leftovers(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> leftovers;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().filename().native().starts_with(kTemporaryPrefix)) {
      leftovers.push_back(entry->path());
    }
  }
  for (const fs::path& path : leftovers) {
    fs::remove_all(path, error);
  }
}

}  // namespace lora
