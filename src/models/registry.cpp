#include "registry.h"

#include <array>
#include <utility>

#include "lora/base/text.h"
#include "lora/models/base_model.h"

namespace lora::models {

namespace {

/// Every family: its model_type in config.json and its builder.
constexpr std::array<std::pair<const char*, BuildFamily*>, 1> kFamilies{{
    {"llama", make_llama},
}};

}  // namespace

std::vector<std::string> known_families() {
  std::vector<std::string> names;
  for (const auto& family : kFamilies) {
    names.emplace_back(family.first);
  }
  return names;
}

BuildFamily* find_family(const std::string& model_type, const std::string& where) {
  for (const auto& [name, builder] : kFamilies) {
    if (model_type == name) {
      return builder;
    }
  }
  const std::vector<std::string> known = known_families();
  model_error(where, "unknown model_type: found '" + model_type + "', expected one of " + join(known) + did_you_mean(model_type, known));
}

}  // namespace lora::models
