#include <algorithm>
#include <array>

#include "config/adapter_entry.h"
#include "config/bottleneck_section.h"
#include "config/formula_section.h"
#include "config/lora_section.h"
#include "config/p_tuning_section.h"
#include "config/prefix_section.h"
#include "config/prompt_section.h"
#include "config/stored_adapter.h"
#include "lora/peft/method.h"

namespace lora::config {

namespace {

/// Every method of peft::peft_types(). A new one is a line here; its functions are in a file of their own.
constexpr std::array<AdapterEntry, 18> kAdapterEntries{{
    {peft::kLora, read_lora_section, read_stored_lora, lora_schema},
    {peft::kPrefixTuning, read_prefix_section, read_stored_prefix, prefix_schema},
    {peft::kPromptTuning, read_prompt_section, read_stored_prompt, prompt_schema},
    {peft::kPTuning, read_p_tuning_section, read_stored_p_tuning, p_tuning_schema},
    {peft::kBottleneck, read_bottleneck_section, read_stored_bottleneck, bottleneck_schema},
    formula_entry<peft::Ia3Options, peft::kIa3>(),
    formula_entry<peft::VeraOptions, peft::kVera>(),
    formula_entry<peft::LohaOptions, peft::kLoha>(),
    formula_entry<peft::LokrOptions, peft::kLokr>(),
    formula_entry<peft::OftOptions, peft::kOft>(),
    formula_entry<peft::BoftOptions, peft::kBoft>(),
    formula_entry<peft::HraOptions, peft::kHra>(),
    formula_entry<peft::MissOptions, peft::kMiss>(),
    formula_entry<peft::RandLoraOptions, peft::kRandLora>(),
    formula_entry<peft::AdaLoraOptions, peft::kAdaLora>(),
    formula_entry<peft::LnTuningOptions, peft::kLnTuning>(),
    formula_entry<peft::BitFitOptions, peft::kBitFit>(),
    formula_entry<peft::TrainableTokensOptions, peft::kTrainableTokens>(),
}};

/// The method of the config, or null after reporting an unknown one at `at`.
const AdapterEntry* find_entry(const Json& config, const ConfigPlace& at) {
  if (!has_peft_type(config, peft::peft_types(), at)) {
    return nullptr;
  }
  return std::find_if(kAdapterEntries.begin(), kAdapterEntries.end(),
                      [&config](const AdapterEntry& entry) { return peft_type_of(config) == entry.peft_type; });
}

/// The method of a section; without a peft_type of its own, that of the adapter in init_from.
const AdapterEntry* entry_of_section(const Json& section, const ConfigPlace& at, const Context& context) {
  const std::optional<std::filesystem::path> start = section.contains("peft_type") ? std::nullopt : start_of(section, context);
  const Json stored = start ? read_stored_config(*start, at.key("init_from")) : Json();
  return stored.is_null() ? find_entry(section, at) : find_entry(stored, stored_place(*start, at));
}

}  // namespace

Json adapter_schema() {
  Json alternatives = Json::array();
  for (const AdapterEntry& entry : kAdapterEntries) {
    alternatives.push_back(entry.schema());
  }
  alternatives.push_back({{"type", "null"}});
  return {{"description", "The adapter: the keys of a PEFT adapter_config.json and init_from; null: full fine-tuning."},
          {"anyOf", alternatives}};
}

AdapterSection read_adapter(const Json& section, const ConfigPlace& at, const Context& context) {
  if (section.is_null()) {
    return {};
  }
  if (!section.is_object()) {
    at.add("found " + shown(section) + ", expected an object with the keys of a PEFT adapter_config.json, or null for full fine-tuning");
    return {};
  }
  const AdapterEntry* const entry = entry_of_section(section, at, context);
  return entry == nullptr ? AdapterSection() : entry->read(section, at, context);
}

peft::MethodOptions read_stored_adapter(const std::filesystem::path& folder, const ConfigPlace& at) {
  const Json config = read_stored_config(folder, at);
  const ConfigPlace file = stored_place(folder, at);
  const AdapterEntry* const entry = config.is_null() ? nullptr : find_entry(config, file);
  return entry == nullptr ? peft::MethodOptions() : entry->read_stored(config, folder, file);
}

}  // namespace lora::config
