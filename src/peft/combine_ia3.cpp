#include "peft/combine_ia3.h"

#include <ATen/ATen.h>

#include <map>
#include <set>

#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/peft/file_names.h"
#include "peft/adapter_config.h"
#include "peft/formula.h"
#include "peft/tensor_file.h"

namespace lora::peft {

namespace {

const char* const kFeedforward = "feedforward_modules";

std::vector<FormulaUpdate> vectors_of(const Adapter& adapter) {
  return of_kind<FormulaUpdate>(adapter.updates);
}

/// The union of lists, or of expressions, as PEFT forms it. `key` is one of target_modules and feedforward_modules.
Json united(const std::vector<WeightedAdapter>& adapters, const char* key) {
  std::set<std::string> names;
  std::string expression;
  for (const WeightedAdapter& adapter : adapters) {
    const Json value = adapter.adapter.config.value(key, Json::array());
    if (value.is_string()) {
      expression += (expression.empty() ? "(" : "|(") + value.get<std::string>() + ")";
    } else {
      for (const Json& name : value) {
        names.insert(name.get<std::string>());
      }
    }
  }
  if (!names.empty() && !expression.empty()) {
    model_error("--combine", std::string("these adapters cannot be combined: found ") + key +
                                 " as a list in one and as an expression in another, expected the same form in all of them, as in PEFT");
  }
  return expression.empty() ? Json(names) : Json(expression);
}

ModuleChoice choice_of(const Json& value) {
  if (value.is_string()) {
    return {ModuleChoice::Kind::kRegex, {}, value.get<std::string>()};
  }
  return {ModuleChoice::Kind::kList, value.get<std::vector<std::string>>(), ""};
}

Tensor vector_of(const FormulaUpdate& update) {
  return update.change->tensors().front().tensor;
}

/// The sum of each module's vectors. Throws for what has no sum.
std::map<std::string, Tensor> sums_of(const std::vector<WeightedAdapter>& adapters) {
  std::map<std::string, Tensor> sums;
  for (const WeightedAdapter& adapter : adapters) {
    if (!has_vectors(adapter.adapter) || !adapter.adapter.held().empty()) {
      model_error(adapter.name, std::string("cannot be combined with an adapter of IA3: found ") +
                                    (has_vectors(adapter.adapter) ? "whole tensors, which have no weighted sum (modules_to_save)"
                                                                  : "an adapter of LoRA") +
                                    ", expected vectors of IA3 alone");
    }
    for (const FormulaUpdate& update : vectors_of(adapter.adapter)) {
      const Tensor weighted = vector_of(update) * adapter.weight;
      const auto [sum, is_first] = sums.emplace(update.module, weighted);
      if (!is_first && sum->second.sizes() != weighted.sizes()) {
        model_error(adapter.name, "has another vector than the previous adapters: found [" + std::to_string(weighted.size(0)) + ", " +
                                      std::to_string(weighted.size(1)) + "] for '" + update.module + "', expected [" +
                                      std::to_string(sum->second.size(0)) + ", " + std::to_string(sum->second.size(1)) +
                                      "]. One of them has it in feedforward_modules or belongs to another base.");
      }
      if (!is_first) {
        sum->second = sum->second + weighted;
      }
    }
  }
  return sums;
}

/// Throws if the vector would scale the module's inputs in the union of the options, and its outputs in the adapter, or the reverse.
void require_same_place(const Formula& formula, const std::string& module, const Tensor& vector) {
  const int64_t length = vector.numel();
  if (vector.sizes() != at::IntArrayRef(formula.parts({module, length, length}).front().shape)) {
    model_error("--combine", "these adapters cannot be combined: found '" + module +
                                 "' in feedforward_modules of one adapter, and not of another that changes it");
  }
}

}  // namespace

bool has_vectors(const Adapter& adapter) {
  const std::vector<FormulaUpdate> formulas = vectors_of(adapter);
  return !formulas.empty() && method_name(formulas.front()) == kIa3;
}

void require_combinable(const Adapter& adapter) {
  const std::vector<FormulaUpdate> formulas = vectors_of(adapter);
  if (!formulas.empty() && !has_vectors(adapter)) {
    model_error(adapter.weights_file.string(), "cannot be combined: found an adapter of " + method_name(formulas.front()) +
                                                   ", expected LoRA or IA3, as in PEFT. Make a LoRA of it with lora-convert --to-lora.");
  }
}

Adapter combined_ia3(const std::vector<WeightedAdapter>& adapters, const CombineOptions& options) {
  if (options.method != "linear") {
    config_error("--combine",
                 "found '" + options.method + "' with adapters of IA3, expected linear, the only method that PEFT has for them");
  }
  const std::map<std::string, Tensor> sums = sums_of(adapters);
  Adapter result;
  result.options = adapters.front().adapter.options;
  result.config = adapters.front().adapter.config;
  for (const char* key : {"target_modules", kFeedforward}) {
    result.config[key] = united(adapters, key);
  }
  result.options.target_modules = choice_of(result.config["target_modules"]);
  Ia3Options ia3;
  ia3.feedforward_modules = choice_of(result.config[kFeedforward]);
  const std::shared_ptr<const Formula> formula = formula_of(ia3);
  const bool is_turned = vectors_of(adapters.front().adapter).front().is_turned;
  for (const auto& [module, vector] : sums) {
    require_same_place(*formula, module, vector);
    const std::string name = vectors_of(adapters.front().adapter).front().change->tensors().front().name;
    result.updates.emplace_back(FormulaUpdate{module, formula->change(module, {{name, vector}}), formula, is_turned});
  }
  return result;
}

size_t write_ia3(const std::filesystem::path& folder, const Adapter& adapter, const std::string& base_name) {
  const std::vector<FormulaUpdate> updates = vectors_of(adapter);
  const std::vector<io::NamedTensor> tensors = file_tensors(adapter.updates);
  require_finite(tensors);
  BaseReference reference(base_name, adapter.base_fingerprint);
  reference.quantization = adapter.base_quantization.text;
  reference.quantization_settings = adapter.base_quantization.settings;
  reference.labels = adapter.labels;
  io::save_tensors(folder / kAdapterWeightsFile, tensors, reference.metadata());
  nlohmann::json config = shared_config(adapter.options, kIa3, base_name);
  updates.front().formula->complete(config);
  config["fan_in_fan_out"] = updates.front().is_turned;
  write_file_atomically(folder / kAdapterConfigFile, targeted_config_text(std::move(config), adapter.options.target_modules));
  return updates.size();
}

}  // namespace lora::peft
