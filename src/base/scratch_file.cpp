#include "lora/base/scratch_file.h"

#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <array>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/descriptor.h"
#include "lora/base/log.h"
#include "lora/base/text.h"

namespace lora {

namespace {

constexpr std::string_view kScratchMark = "lora-train scratch file: the run that uses it removes it at its end\n";
constexpr size_t kMarkSize = 1 << 16;  // a multiple of every system's page size, so that what follows can be mapped by itself

/// Locks an open file. False if another process holds its lock.
bool try_lock(int descriptor) {
  int status = 0;
  do {
    status = flock(descriptor, LOCK_EX | LOCK_NB);
  } while (status != 0 && errno == EINTR);
  return status == 0;
}

bool has_mark(int descriptor) {
  std::array<char, kScratchMark.size()> found;
  struct stat status = {};
  return fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode) &&
         pread(descriptor, found.data(), found.size(), 0) == static_cast<ssize_t>(found.size()) &&
         std::string_view(found.data(), found.size()) == kScratchMark;
}

/// Removes a file that a killed process has left, unless it is in use or not a scratch file.
void remove_left_over(const fs::path& file) {
  const Descriptor descriptor(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  // Once the lock is held, nobody else removes the file, so that the name still leads to it.
  if (!descriptor.ok() || !has_mark(descriptor.number()) || !try_lock(descriptor.number()) || !is_current(descriptor.number(), file) ||
      unlink(file.c_str()) != 0) {
    return;
  }
  log::info("Removed " + file.string() + ", which a killed run had left");
}

/// Removes what killed processes have left under this name.
void remove_left_overs(const fs::path& folder, const std::string& name) {
  std::error_code ignored;
  for (fs::directory_iterator entry(folder, ignored), end; !ignored && entry != end; entry.increment(ignored)) {
    const std::string found = entry->path().filename().string();
    if (found.starts_with(name + "-") && found.ends_with(".bin")) {
      remove_left_over(entry->path());
    }
  }
}

/// A new, locked file under the first free number, and its descriptor.
std::pair<fs::path, int> create_scratch(const fs::path& folder, const std::string& name) {
  for (int64_t number = 1;; ++number) {
    const fs::path file = folder / (name + "-" + std::to_string(number) + ".bin");
    Descriptor descriptor(file, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (descriptor.ok()) {
      if (!try_lock(descriptor.number()) && errno != EWOULDBLOCK) {
        log::warn("[" + file.string() + "] cannot be locked (" + std::strerror(errno) + "): make sure that no other run uses this folder");
      }
      return {file, descriptor.release()};
    }
    if (errno != EEXIST) {
      system_error(ErrorKind::kOutput, folder, "cannot be written to");
    }
  }
}

/// Takes room on the disk. Returns errno's value, or 0.
int reserve(int descriptor, size_t size) {
  int status = 0;
  do {
    status = posix_fallocate(descriptor, 0, static_cast<off_t>(size));
  } while (status == EINTR);
  return status;
}

bool write_mark(int descriptor) {
  return pwrite(descriptor, kScratchMark.data(), kScratchMark.size(), 0) == static_cast<ssize_t>(kScratchMark.size());
}

}  // namespace

ScratchFile::ScratchFile(const fs::path& folder, const std::string& name, size_t size) : size_(size) {
  make_writable_folder(folder);
  remove_left_overs(folder, name);
  std::tie(path_, descriptor_) = create_scratch(folder, name);
  const auto fail = [&](const std::string& message, int code) {
    unlink(path_.c_str());
    close(descriptor_);
    system_error(ErrorKind::kOutput, path_, message, code);
  };
  if (!write_mark(descriptor_)) {
    fail("cannot be written", errno);
  }
  if (const int status = reserve(descriptor_, file_size(size)); status != 0) {
    std::error_code unknown;
    const fs::space_info space = fs::space(folder, unknown);
    fail("cannot be given its size: expected room for " + human_bytes(static_cast<int64_t>(file_size(size))) +
             (unknown ? "" : ", found " + human_bytes(static_cast<int64_t>(space.available)) + " free"),
         status);
  }
  if (size == 0) {
    return;
  }
  void* const address = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, kMarkSize);
  if (address == MAP_FAILED) {
    fail("cannot be mapped into memory", errno);
  }
  data_ = static_cast<std::byte*>(address);
}

ScratchFile::~ScratchFile() {
  if (data_ != nullptr) {
    munmap(data_, size_);
  }
  if (is_current(descriptor_, path_)) {
    unlink(path_.c_str());
  }
  close(descriptor_);
}

void ScratchFile::release() const {
  if (data_ != nullptr) {
    madvise(data_, size_, MADV_DONTNEED);  // only advice; the mapping is shared, so that what was written stays in the file
  }
}

size_t ScratchFile::file_size(size_t size) {
  return kMarkSize + size;
}

}  // namespace lora
