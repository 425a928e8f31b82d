#pragma once
#include <cstddef>
#include <filesystem>
#include <string>

#include "lora/base/json.h"

namespace lora {

/// What a file that is read as a whole may be.
struct InputLimits {
  size_t max_bytes = size_t{64} << 20;
  bool may_be_pipe = false;  ///< such as <(…) in a shell, which can be read once
};

/// A model's list of 100,000 tensors has 10 MB.
inline constexpr InputLimits kSettings{};
inline constexpr InputLimits kTokenizerFile{size_t{512} << 20, false};
inline constexpr InputLimits kMetrics{size_t{4} << 30, false};

/// The only way in which a file that a user or another file names is opened for reading: a regular file, or a pipe where one may be.
/// Neither a device nor, unless allowed, a pipe is touched. Returns a descriptor that the caller closes. Throws Error of `kind`.
int open_input(const std::filesystem::path& file, ErrorKind kind, bool may_be_pipe = false);

/// Whether there is a pipe at `path`.
bool is_pipe(const std::filesystem::path& path);

/// What a regular file begins with, `count` bytes at most; "" where it cannot be read.
std::string first_bytes(const std::filesystem::path& file, size_t count);

/// The whole file. Throws Error of `kind` if it cannot be read, or is something else or larger than `limits` allow.
std::string read_file(const std::filesystem::path& file, ErrorKind kind, const InputLimits& limits);
Json read_json(const std::filesystem::path& file, ErrorKind kind, const InputLimits& limits);

}  // namespace lora
