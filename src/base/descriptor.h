#pragma once
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/terminal.h"

namespace lora {

/// A file descriptor that closes itself.
class Descriptor {
 public:
  /// Like open(2), and repeats interrupted calls. Check ok() and errno.
  Descriptor(const fs::path& file, int flags, mode_t mode = 0) {
    do {
      number_ = open(file.c_str(), flags | O_CLOEXEC, mode);
    } while (number_ < 0 && errno == EINTR);
  }
  /// Takes ownership of an open descriptor.
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { close_now(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  bool ok() const { return number_ >= 0; }
  int number() const { return number_; }
  /// Passes ownership of the descriptor to the caller.
  int release() { return std::exchange(number_, -1); }
  /// False if the system reports that written bytes were lost.
  bool close_now() {
    const int number = release();
    return number < 0 || close(number) == 0 || errno == EINTR;
  }

 private:
  int number_ = -1;
};

/// Whether `file` is still the file of the descriptor: an owner removes its file when it is done.
inline bool is_current(int descriptor, const fs::path& file) {
  struct stat ours = {};
  struct stat named = {};
  return fstat(descriptor, &ours) == 0 && stat(file.c_str(), &named) == 0 && ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
}

/// Throws "[file] message: the system's reason".
[[noreturn]] inline void system_error(ErrorKind kind, const fs::path& file, const std::string& message, int code = errno) {
  throw Error(kind, terminal::visible_line(file.string()), message + ": " + std::strerror(code));
}

}  // namespace lora
