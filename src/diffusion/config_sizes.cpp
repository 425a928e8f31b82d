#include "diffusion/config_sizes.h"

#include <algorithm>

#include "lora/base/log.h"
#include "lora/base/text.h"

namespace lora::diffusion {

namespace {

constexpr int64_t kMaxSize = 1 << 24;
constexpr size_t kMaxResolutions = 16;

}  // namespace

bool is_config_size(const Json& value) {
  return value.is_number_integer() && value.get<int64_t>() >= 1 && value.get<int64_t>() <= kMaxSize;
}

int64_t config_size(const JsonReader& config, const std::string& key, int64_t fallback) {
  const int64_t value = config.integer(key, fallback);
  if (value < 1 || value > kMaxSize) {
    config.fail(key, "an integer from 1 to " + std::to_string(kMaxSize));
  }
  return value;
}

std::vector<int64_t> config_channels(const JsonReader& config, const std::vector<int64_t>& fallback) {
  const char* const key = "block_out_channels";
  if (!config.has(key)) {
    return fallback;
  }
  const Json& value = config.at(key);
  if (!value.is_array() || value.empty() || value.size() > kMaxResolutions || !std::all_of(value.begin(), value.end(), is_config_size)) {
    config.fail(key, "a list of 1 to " + std::to_string(kMaxResolutions) + " integers of at least 1");
  }
  return value.get<std::vector<int64_t>>();
}

void warn_of_unread_keys(const Json& config, const std::string& where, const JsonAccess& access, const std::string& name) {
  std::vector<std::string> unread;
  for (const auto& [key, value] : config.items()) {
    if (!key.starts_with("_") && !access.was_read(config, key)) {
      unread.push_back(key);
    }
  }
  if (!unread.empty()) {
    log::warn("[" + where + "] has keys that " + name + " does not have, which are ignored: " + join(unread));
  }
}

}  // namespace lora::diffusion
