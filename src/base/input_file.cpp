#include "lora/base/input_file.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/descriptor.h"
#include "lora/base/bundle.h"
#include "lora/base/text.h"

namespace lora {

namespace {

constexpr size_t kFirstRead = 1 << 16;

const char* name_of_kind(mode_t mode) {
  return S_ISDIR(mode) ? "a folder" : S_ISFIFO(mode) ? "a pipe" : S_ISSOCK(mode) ? "a socket" : "a device";
}

void require_input(const fs::path& file, ErrorKind kind, mode_t mode, bool may_be_pipe) {
  if (!S_ISREG(mode) && !(may_be_pipe && S_ISFIFO(mode))) {
    throw Error(kind, file.string(),
                std::string("found ") + name_of_kind(mode) + ", expected a " + (S_ISDIR(mode) ? "" : "regular ") + "file" +
                    (may_be_pipe ? " or a pipe" : ""));
  }
}

/// At most `most` bytes, from the current position of the descriptor.
size_t read_some(const Descriptor& descriptor, char* buffer, size_t most, const fs::path& file, ErrorKind kind) {
  while (true) {
    const ssize_t got = read(descriptor.number(), buffer, most);
    if (got >= 0) {
      return static_cast<size_t>(got);
    }
    if (errno != EINTR) {
      system_error(kind, file, "cannot be read");
    }
  }
}

[[noreturn]] void fail_too_large(const fs::path& file, ErrorKind kind, const InputLimits& limits) {
  throw Error(kind, file.string(),
              "found more than " + human_bytes(static_cast<int64_t>(limits.max_bytes)) +
                  ", expected a smaller file. Likely cause: its content is not what its name says.");
}

}  // namespace

int open_input(const fs::path& file, ErrorKind kind, bool may_be_pipe) {
  // The type is checked before opening, because opening a device can have effects and opening a pipe waits for its other end; and again
  // afterwards, because another file may have replaced it.
  struct stat status = {};
  if (stat(file.c_str(), &status) != 0) {
    system_error(kind, file, "cannot be read");
  }
  require_input(file, kind, status.st_mode, may_be_pipe);
  Descriptor descriptor(file, O_RDONLY | O_NOCTTY | (S_ISFIFO(status.st_mode) ? 0 : O_NONBLOCK));
  if (!descriptor.ok() || fstat(descriptor.number(), &status) != 0) {
    system_error(kind, file, "cannot be read");
  }
  require_input(file, kind, status.st_mode, may_be_pipe);
  return descriptor.release();
}

bool is_pipe(const fs::path& path) {
  std::error_code ignored;
  return fs::is_fifo(path, ignored);
}

std::string first_bytes(const fs::path& file, size_t count) {
  try {
    const Descriptor descriptor(open_input(file, ErrorKind::kData));
    std::string bytes(count, '\0');
    bytes.resize(read_some(descriptor, bytes.data(), count, file, ErrorKind::kData));
    return bytes;
  } catch (const Error&) {
    return "";
  }
}

std::string read_file(const fs::path& file, ErrorKind kind, const InputLimits& limits) {
  if (std::optional<std::string> bundled = bundled_file(file)) {
    return std::move(*bundled);
  }
  const Descriptor descriptor(open_input(file, kind, limits.may_be_pipe));
  struct stat status = {};
  const bool has_size = fstat(descriptor.number(), &status) == 0 && status.st_size > 0;
  if (has_size && static_cast<size_t>(status.st_size) > limits.max_bytes) {
    fail_too_large(file, kind, limits);
  }
  // One byte more than the size detects the end of the file; one more than the limit detects a file that is too large.
  const size_t first = has_size ? static_cast<size_t>(status.st_size) + 1 : kFirstRead;
  std::string content(std::min(first, limits.max_bytes + 1), '\0');
  size_t size = 0;
  while (size <= limits.max_bytes) {
    const size_t got = read_some(descriptor, content.data() + size, content.size() - size, file, kind);
    size += got;
    if (got == 0) {
      content.resize(size);
      return content;
    }
    if (size == content.size()) {
      content.resize(std::min(2 * size, limits.max_bytes + 1));
    }
  }
  fail_too_large(file, kind, limits);
}

Json read_json(const fs::path& file, ErrorKind kind, const InputLimits& limits) {
  return parse_json(read_file(file, kind, limits), file.string(), kind);
}

}  // namespace lora
