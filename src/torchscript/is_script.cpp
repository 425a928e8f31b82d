#include "lora/torchscript/is_script.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <string_view>

namespace lora::torchscript {

bool is_script(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) {
    return false;
  }
  constexpr std::string_view kZip("PK\x03\x04", 4);
  std::array<char, 4> begin{};
  std::ifstream(file, std::ios::binary).read(begin.data(), begin.size());
  constexpr std::array kEndings{".pt", ".pth", ".ts", ".torchscript", ".jit"};
  const auto has_ending = [&file](const char* ending) { return file.extension() == ending; };
  return std::string_view(begin.data(), begin.size()) == kZip || std::any_of(kEndings.begin(), kEndings.end(), has_ending);
}

}  // namespace lora::torchscript
