#include "lora/base/folder_lock.h"

#include <sys/file.h>
#include <sys/stat.h>

#include <array>

#include "base/descriptor.h"
#include "lora/base/file.h"
#include "lora/base/log.h"
#include "lora/base/text.h"

namespace lora {

namespace {

/// The lock file is written to, so it must not be a second name of another file, or a device.
bool is_own_file(int descriptor) {
  struct stat status = {};
  return fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink <= 1;
}

/// What the owner wrote into its lock file, or "".
std::string owner_of(int descriptor) {
  std::array<char, 32> buffer;
  const ssize_t size = pread(descriptor, buffer.data(), buffer.size(), 0);
  return size > 0 ? trim(std::string_view(buffer.data(), static_cast<size_t>(size))) : "";
}

}  // namespace

FolderLock::FolderLock(const fs::path& folder) : file_(folder / ".lock") {
  while (descriptor_ < 0) {
    Descriptor descriptor(file_, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (!descriptor.ok() && errno != ELOOP) {
      system_error(ErrorKind::kOutput, folder, "cannot be locked");
    }
    if (!descriptor.ok() || !is_own_file(descriptor.number())) {
      output_error(file_.string(),
                   "is a link or not a regular file, expected the lock file of a run. Remove it, or choose another folder.");
    }
    const bool is_locked = flock(descriptor.number(), LOCK_EX | LOCK_NB) == 0;
    if (!is_locked && errno == EWOULDBLOCK) {
      const std::string owner = owner_of(descriptor.number());
      output_error(folder.string(), "is in use by another run" + (owner.empty() ? "" : " (process " + owner + ")") +
                                        ": expected a folder of its own for each run. Wait for it, stop it, or choose another folder.");
    }
    if (!is_locked && errno != EINTR) {
      log::warn("[" + folder.string() + "] cannot be locked (" + std::strerror(errno) + "): make sure that no other run uses it");
    }
    if (!is_locked ? errno != EINTR : is_current(descriptor.number(), file_)) {
      descriptor_ = descriptor.release();
    }
  }
  const std::string owner = std::to_string(getpid()) + "\n";
  if (ftruncate(descriptor_, 0) != 0 || pwrite(descriptor_, owner.data(), owner.size(), 0) < 0) {
    log::warn("[" + file_.string() + "] cannot be written: " + std::strerror(errno));  // the lock is held nevertheless
  }
}

FolderLock::~FolderLock() {
  if (is_current(descriptor_, file_)) {
    unlink(file_.c_str());
  }
  close(descriptor_);
}

bool is_locked(const fs::path& folder) {
  const fs::path file = folder / ".lock";
  const int descriptor = open(file.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) {
    return false;
  }
  const bool is_held = flock(descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  close(descriptor);
  return is_held;
}

}  // namespace lora
