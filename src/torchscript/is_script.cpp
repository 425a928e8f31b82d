#include "lora/torchscript/is_script.h"

#include <algorithm>
#include <array>

#include "lora/base/input_file.h"

namespace lora::torchscript {

bool is_script(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) {
    return false;
  }
  constexpr std::array kEndings{".pt", ".pth", ".ts", ".torchscript", ".jit"};
  const auto has_ending = [&file](const char* ending) { return file.extension() == ending; };
  return first_bytes(file, 4) == "PK\x03\x04" || std::any_of(kEndings.begin(), kEndings.end(), has_ending);
}

}  // namespace lora::torchscript
