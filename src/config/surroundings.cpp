#include <string>

#include "lora/config/run_config.h"

namespace lora::config {

namespace {

struct CacheVariable {
  const char* name;
  const char* below;  ///< the cache's folder in the variable's
};

constexpr CacheVariable kCacheVariables[] = {
    {"HF_HUB_CACHE", ""},
    {"HF_HOME", "hub"},
    {"XDG_CACHE_HOME", "huggingface/hub"},
    {"HOME", ".cache/huggingface/hub"},
};

}  // namespace

Surroundings read_surroundings(const std::function<const char*(const char* name)>& environment) {
  for (const CacheVariable& variable : kCacheVariables) {
    const char* const value = environment(variable.name);
    if (value != nullptr && *value != '\0') {
      const std::filesystem::path folder(value);
      return {{*variable.below == '\0' ? folder : folder / variable.below}};
    }
  }
  return {};
}

}  // namespace lora::config
