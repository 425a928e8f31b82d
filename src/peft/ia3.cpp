#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/error.h"
#include "lora/base/regex.h"
#include "lora/nn/input_transform.h"
#include "lora/nn/output_scale.h"
#include "peft/adapter_config.h"
#include "peft/default_targets.h"
#include "peft/formula_method.h"

namespace lora::peft {

namespace {

const char* const kFactors = "ia3_l";

class Ia3Outputs : public nn::OutputScale {
 public:
  explicit Ia3Outputs(Tensor factors_O1) : factors_O1_(std::move(factors_O1)) {}
  std::vector<io::NamedTensor> tensors() const override { return {{kFactors, factors_O1_}}; }
  Tensor factors() const override { return factors_O1_.flatten(); }

 private:
  Tensor factors_O1_;
};

class Ia3Inputs : public nn::InputTransform {
 public:
  explicit Ia3Inputs(Tensor factors_1I) : factors_1I_(std::move(factors_1I)) {}
  std::vector<io::NamedTensor> tensors() const override { return {{kFactors, factors_1I_}}; }
  Tensor transform(const Tensor& x_TI) const override { return x_TI * factors_1I_; }
  Tensor merged_weight(const Tensor& W_OI) const override { return W_OI * factors_1I_.detach(); }

 private:
  Tensor factors_1I_;
};

class Ia3 : public Formula {
 public:
  explicit Ia3(Ia3Options options) : options_(std::move(options)) {}

  std::string name() const override { return "IA3"; }
  bool takes_conv1d() const override { return true; }
  std::vector<std::string> default_targets(const std::vector<std::string>&) const override { return {}; }
  void complete(nlohmann::json& config) const override { config["feedforward_modules"] = choice_json(options_.feedforward_modules); }
  std::vector<FormulaPart> parts(const ProjectionFacts& projection) const override {
    const std::vector<int64_t> shape =
        is_feedforward(projection.module) ? std::vector<int64_t>{1, projection.inputs} : std::vector<int64_t>{projection.outputs, 1};
    return {{kFactors, shape, options_.init_ia3_weights ? constant(1) : standard_normal()}};
  }
  std::shared_ptr<const nn::ProjectionChange> change(const std::string& module, const PartTensors& tensors) const override {
    const Tensor& factors = formula_part(tensors, module, kFactors);
    if (is_feedforward(module)) {
      return std::make_shared<const Ia3Inputs>(factors);
    }
    return std::make_shared<const Ia3Outputs>(factors);
  }

 private:
  /// As in PEFT, an entry is an end of the name, not only after a '.', and a string is an expression for the whole name.
  bool is_feedforward(const std::string& module) const {
    const ModuleChoice& choice = options_.feedforward_modules;
    if (choice.kind == ModuleChoice::Kind::kRegex) {
      return Regex(choice.regex, "adapter.feedforward_modules", ErrorKind::kConfig).matches_whole(module);
    }
    return std::any_of(choice.names.begin(), choice.names.end(), [&](const std::string& entry) { return module.ends_with(entry); });
  }

  Ia3Options options_;
};

}  // namespace

Ia3Options with_defaults(const Ia3Options& options, const nn::Model& model) {
  const DefaultTargets defaults = default_targets_of(model.family);
  Ia3Options settled = options;
  if (options.target_modules.kind == ModuleChoice::Kind::kNone && !defaults.ia3.empty()) {
    settled.target_modules = {ModuleChoice::Kind::kList, defaults.ia3, ""};
  }
  if (options.feedforward_modules.kind == ModuleChoice::Kind::kNone && settled.target_modules.kind != ModuleChoice::Kind::kNone) {
    if (defaults.ia3_feedforward.empty()) {
      config_error("adapter.feedforward_modules",
                   "this model's family has no default: found null, expected those of the targets whose inputs are scaled, [] for none");
    }
    settled.feedforward_modules = {ModuleChoice::Kind::kList, defaults.ia3_feedforward, ""};
  }
  return settled;
}

std::unique_ptr<Formula> formula_of(const Ia3Options& options) {
  return std::make_unique<Ia3>(options);
}

}  // namespace lora::peft
