#include "lora/base/sibling.h"

#include <vector>

#include "lora/base/text.h"

namespace lora {

std::string did_you_mean_sibling(const std::filesystem::path& missing) {
  std::error_code error;
  std::vector<std::string> names;
  const std::filesystem::path folder = missing.parent_path();
  for (std::filesystem::directory_iterator entry(folder.empty() ? "." : folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_directory(ignored)) {
      names.push_back(entry->path().filename().string());
    }
  }
  return did_you_mean(missing.filename().string(), names);
}

}  // namespace lora
