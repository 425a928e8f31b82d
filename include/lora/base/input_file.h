#pragma once
#include <cstddef>
#include <filesystem>
#include <string>

#include "lora/base/json.h"

namespace lora {

/// Limits of a file that is read as a whole.
struct InputLimits {
  size_t max_bytes = size_t{64} << 20;
  bool may_be_pipe = false;  ///< such as <(…) in a shell, which can be read only once
};

/// An index of 100,000 tensors takes 10 MB.
inline constexpr InputLimits kSettings{};
inline constexpr InputLimits kTokenizerFile{size_t{512} << 20, false};
inline constexpr InputLimits kMetrics{size_t{4} << 30, false};

/// The only function that opens a file that a user or another file names for reading. The file must be a regular file, or a pipe if
/// `may_be_pipe`; anything else is not opened at all. Returns a descriptor that the caller closes. Throws Error of `kind`.
int open_input(const std::filesystem::path& file, ErrorKind kind, bool may_be_pipe = false);

/// Whether there is a pipe at `path`.
bool is_pipe(const std::filesystem::path& path);

/// The first `count` bytes of a regular file, or fewer if it is shorter; "" if it cannot be read.
std::string first_bytes(const std::filesystem::path& file, size_t count);

/// The whole file. Throws Error of `kind` if it cannot be read, or if `limits` do not allow its type or size.
std::string read_file(const std::filesystem::path& file, ErrorKind kind, const InputLimits& limits);
Json read_json(const std::filesystem::path& file, ErrorKind kind, const InputLimits& limits);

}  // namespace lora
