#pragma once
#include <memory>
#include <string>

#include "lora/peft/adapter.h"
#include "lora/peft/adapter_folder.h"
#include "lora/peft/method.h"
#include "peft/formula.h"

// What all methods that are a formula do in the same way, for the table of methods.
namespace lora::peft {

/// Attaches the formula to the projections that the options choose, together with whatever else the options train (attach_adapter).
/// @param peft_type the method's, for adapter_config.json.
std::unique_ptr<Method> attach_formula(const TargetOptions& options, const char* peft_type, std::unique_ptr<Formula> formula,
                                       nn::Model& model, const BaseReference& base, uint64_t seed, const std::string& adapter_name);

/// The options with what PEFT takes from the model's family where they are null.
template <typename Options>
Options with_defaults(const Options& options, const nn::Model&) {
  return options;
}
/// Throws config Error if feedforward_modules is null and PEFT has no default for the family.
Ia3Options with_defaults(const Ia3Options& options, const nn::Model& model);
/// target_modules of PEFT's table for AdaLoRA, which lacks some families.
AdaLoraOptions with_defaults(const AdaLoraOptions& options, const nn::Model& model);

/// Throws what attach_formula would throw for the choice of modules.
void require_formula_targets(const TargetOptions& options, const Formula& formula, nn::Model& model);

/// The stored adapter as changes of weights (read_adapter).
Adapter read_formula(const AdapterFolder& folder, const TargetOptions& options, std::unique_ptr<Formula> formula);

}  // namespace lora::peft
