#include "registry.h"

#include <array>
#include <utility>

#include "lora/base/text.h"
#include "lora/models/base_model.h"
#include "unknown_family.h"

namespace lora::models {

namespace {

/// Every family: its model_type in config.json and its builder.
constexpr std::array<std::pair<const char*, BuildFamily*>, 10> kFamilies{{
    {"gemma", make_gemma},
    {"gemma2", make_gemma2},
    {"gemma3_text", make_gemma3_text},
    {"llama", make_llama},
    {"mistral", make_mistral},
    {"olmo2", make_olmo2},
    {"phi3", make_phi3},
    {"qwen2", make_qwen2},
    {"qwen3", make_qwen3},
    {"smollm3", make_smollm3},
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
  model_error(where,
              "unknown model_type: found '" + model_type + "', expected one of " + join(known) + unknown_family_advice(model_type, known));
}

}  // namespace lora::models
