#include "lora/torchscript/is_script.h"

#include <algorithm>
#include <array>

#include "lora/base/input_file.h"

namespace lora::torchscript {

bool is_script(const std::filesystem::path& file) {
  constexpr std::array kEndings{".pt", ".pth", ".ts", ".torchscript", ".jit"};
  const auto has_ending = [&file](const char* ending) { return file.extension() == ending; };
  std::error_code error;
  const bool is_file = std::filesystem::is_regular_file(file, error);
  if (is_file && first_bytes(file, 4) == "PK\x03\x04") {
    return true;
  }
  // A missing or damaged file counts as a module if its name says so.
  return (is_file || !std::filesystem::exists(file, error)) && std::any_of(kEndings.begin(), kEndings.end(), has_ending);
}

}  // namespace lora::torchscript
