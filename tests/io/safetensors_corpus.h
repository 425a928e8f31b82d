#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace lora::io::testing {

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

}  // namespace lora::io::testing
