#pragma once
#include <filesystem>
#include <string>

#include "lora/base/file.h"

namespace lora::test {

/// A whole file.
inline std::string content(const std::filesystem::path& file) {
  return read_file(file, ErrorKind::kData);
}

}  // namespace lora::test
