#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "support/paths.h"

namespace lora::io::corpus {

inline const std::filesystem::path kGoldens = std::filesystem::path(lora::test::data_folder()) / "safetensors";

/// A file with this header text and data. `length` is the header length to write; < 0: the true one.
std::string file_of(std::string_view header, std::string_view data = "", int64_t length = -1);

/// A header with one tensor "a".
std::string one(std::string_view dtype, std::string_view shape, std::string_view offsets);

struct Case {
  std::string label;
  std::string bytes;
};

/// Files that must be refused, each for a different reason.
std::vector<Case> hostile_files();

/// Unusual files that the format allows.
std::vector<Case> allowed_files();

}  // namespace lora::io::corpus
