#include "lora/base/own_library.h"

namespace lora {

std::filesystem::path own_library(const std::string& name) {
  std::error_code ignored;  // without /proc the path below "/" cannot be opened, which the caller reports
  const std::filesystem::path program = std::filesystem::canonical("/proc/self/exe", ignored);
  return "/" / program.parent_path().parent_path() / "lib" / "lora-train" / name;
}

}  // namespace lora
