#include "peft/methods.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <array>

#include "lora/base/error.h"
#include "peft/bottleneck.h"
#include "peft/formula_method.h"
#include "peft/lora.h"
#include "peft/p_tuning.h"
#include "peft/prefix_tuning.h"
#include "peft/prompt_tuning.h"
#include "peft/replacement_method.h"

namespace lora::peft {

namespace {

/// What a stored adapter of LoRA and its kin (rsLoRA, DoRA) is read as.
Adapter read_stored_lora(const AdapterFolder& folder, const MethodOptions& options) {
  return read_lora(folder, *options.as<LoraOptions>());
}

/// The entry of a method that is a formula, by the type of its options.
template <typename Options, const char* const& kPeftType>
constexpr MethodEntry formula_entry() {
  return {kPeftType, [](const MethodOptions& options) { return options.as<Options>() != nullptr; },
          [](const MethodOptions& options, nn::Model& model, const BaseReference& base, uint64_t seed, const std::string& adapter_name) {
            const Options own = with_defaults(*options.as<Options>(), model);
            return attach_formula(own, kPeftType, formula_of(own), model, base, seed, adapter_name);
          },
          [](const MethodOptions& options, nn::Model& model) {
            const Options own = with_defaults(*options.as<Options>(), model);
            require_formula_targets(own, *formula_of(own), model);
          },
          [](const MethodOptions&) { return false; },
          [](const AdapterFolder& folder, const MethodOptions& options) {
            const Options& own = *options.as<Options>();
            return read_formula(folder, own, formula_of(own));
          },
          nullptr};
}

std::vector<int64_t> token_indices_of(const TargetOptions&) {
  return {};
}
std::vector<int64_t> token_indices_of(const TrainableTokensOptions& options) {
  return options.token_indices;
}

/// The entry of a method that trains copies of the base's weights, by the type of its options.
template <typename Options, const char* const& kPeftType>
constexpr MethodEntry replacement_entry() {
  return {kPeftType, [](const MethodOptions& options) { return options.as<Options>() != nullptr; },
          [](const MethodOptions& options, nn::Model& model, const BaseReference& base, uint64_t, const std::string& adapter_name) {
            return attach_replacements(*options.as<Options>(), model, base, adapter_name);
          },
          [](const MethodOptions& options, nn::Model& model) { require_replacement_targets(*options.as<Options>(), model); },
          [](const MethodOptions&) { return false; },
          [](const AdapterFolder& folder, const MethodOptions& options) {
            const Options& own = *options.as<Options>();
            return read_replacements(folder, own, token_indices_of(own), kPeftType);
          },
          nullptr};
}

/// Every method. A new one is a line here; its functions are in a file of their own, its options an alternative of MethodOptions.
constexpr std::array<MethodEntry, 18> kMethods{{
    {kLora, [](const MethodOptions& options) { return options.as<LoraOptions>() != nullptr; },
     [](const MethodOptions& options, nn::Model& model, const BaseReference& base, uint64_t seed, const std::string& adapter_name) {
       return attach_lora(*options.as<LoraOptions>(), model, base, seed, adapter_name);
     },
     [](const MethodOptions& options, nn::Model& model) { require_lora_targets(*options.as<LoraOptions>(), model); },
     [](const MethodOptions& options) { return changes_base(options.as<LoraOptions>()->init); }, read_stored_lora, nullptr},
    {kPrefixTuning, [](const MethodOptions& options) { return options.as<PrefixOptions>() != nullptr; },
     [](const MethodOptions& options, nn::Model& model, const BaseReference& base, uint64_t seed, const std::string& adapter_name) {
       return attach_prefix(*options.as<PrefixOptions>(), model, base, seed, adapter_name);
     },
     [](const MethodOptions& options, nn::Model& model) { require_prefix_places(*options.as<PrefixOptions>(), model); },
     [](const MethodOptions&) { return false; }, nullptr, "adds keys and values to attention"},
    {kPromptTuning, [](const MethodOptions& options) { return options.as<PromptTuningOptions>() != nullptr; },
     [](const MethodOptions& options, nn::Model& model, const BaseReference& base, uint64_t seed, const std::string& adapter_name) {
       return attach_prompt(*options.as<PromptTuningOptions>(), model, base, seed, adapter_name);
     },
     [](const MethodOptions& options, nn::Model& model) {
       require_prompt_place(*options.as<PromptTuningOptions>(), kPromptTuning, model);
     },
     [](const MethodOptions&) { return false; }, nullptr, "adds virtual tokens before each document"},
    {kPTuning, [](const MethodOptions& options) { return options.as<PTuningOptions>() != nullptr; },
     [](const MethodOptions& options, nn::Model& model, const BaseReference& base, uint64_t seed, const std::string& adapter_name) {
       return attach_p_tuning(*options.as<PTuningOptions>(), model, base, seed, adapter_name);
     },
     [](const MethodOptions& options, nn::Model& model) { require_prompt_place(*options.as<PTuningOptions>(), kPTuning, model); },
     [](const MethodOptions&) { return false; }, nullptr, "adds virtual tokens before each document"},
    {kBottleneck, [](const MethodOptions& options) { return options.as<BottleneckOptions>() != nullptr; },
     [](const MethodOptions& options, nn::Model& model, const BaseReference& base, uint64_t seed, const std::string& adapter_name) {
       return attach_bottleneck(*options.as<BottleneckOptions>(), model, base, seed, adapter_name);
     },
     [](const MethodOptions& options, nn::Model& model) { require_bottleneck_places(*options.as<BottleneckOptions>(), model); },
     [](const MethodOptions&) { return false; }, nullptr, "adds layers that are not linear"},
    formula_entry<Ia3Options, kIa3>(),
    formula_entry<VeraOptions, kVera>(),
    formula_entry<LohaOptions, kLoha>(),
    formula_entry<LokrOptions, kLokr>(),
    formula_entry<OftOptions, kOft>(),
    formula_entry<BoftOptions, kBoft>(),
    formula_entry<HraOptions, kHra>(),
    formula_entry<MissOptions, kMiss>(),
    formula_entry<RandLoraOptions, kRandLora>(),
    formula_entry<AdaLoraOptions, kAdaLora>(),
    replacement_entry<LnTuningOptions, kLnTuning>(),
    replacement_entry<BitFitOptions, kBitFit>(),
    replacement_entry<TrainableTokensOptions, kTrainableTokens>(),
}};

}  // namespace

const MethodEntry& method_entry(const MethodOptions& options) {
  return *std::find_if(kMethods.begin(), kMethods.end(), [&options](const MethodEntry& entry) { return entry.owns(options); });
}

std::unique_ptr<Method> attach_adapter(const MethodOptions& options, nn::Model& model, const BaseReference& base, uint64_t seed,
                                       const std::string& adapter_name) {
  return method_entry(options).attach(options, model, base, seed, adapter_name);
}

void require_matching_targets(const MethodOptions& options, nn::Model& model) {
  method_entry(options).require_matching_targets(options, model);
}

bool changes_base(const MethodOptions& options) {
  return method_entry(options).changes_base(options);
}

bool starts_from_data(const MethodOptions& options) {
  const LoraOptions* const lora = options.as<LoraOptions>();
  return lora != nullptr && starts_from_data(lora->init);
}

bool changes_weights(const std::string& peft_type) {
  return std::none_of(kMethods.begin(), kMethods.end(),
                      [&peft_type](const MethodEntry& entry) { return entry.peft_type == peft_type && entry.read == nullptr; });
}

std::vector<std::string> peft_types() {
  std::vector<std::string> types;
  for (const MethodEntry& entry : kMethods) {
    types.emplace_back(entry.peft_type);
  }
  return types;
}

Adapter read_adapter(const std::filesystem::path& folder, const MethodOptions& options) {
  const MethodEntry& entry = method_entry(options);
  if (entry.read == nullptr) {
    model_error(folder.string(), std::string("is no change of weights: found peft_type \"") + entry.peft_type + "\", which " +
                                     entry.no_weight_change + ", expected a method whose adapters can be merged, combined or converted");
  }
  return entry.read(AdapterFolder(folder), options);
}

}  // namespace lora::peft
