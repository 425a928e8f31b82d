#include <ATen/ATen.h>

#include <algorithm>

#include "lora/nn/weight_delta.h"
#include "peft/default_targets.h"
#include "peft/formula.h"
#include "peft/formula_method.h"
#include "peft/rank_budget.h"

namespace lora::peft {

namespace {

/// Between PEFT's ranks and zero, where it divides by them.
constexpr double kLeastRank = 1e-5;

/// ΔW = scale · B diag(E) A, a singular value decomposition. R rank.
class SingularPair : public nn::WeightDelta {
 public:
  SingularPair(const std::string& module, const PartTensors& tensors, double scale, double dropout)
      : WeightDelta(dropout),
        A_RI_(formula_part(tensors, module, "lora_A")),
        E_R1_(formula_part(tensors, module, "lora_E")),
        B_OR_(formula_part(tensors, module, "lora_B")),
        scale_(scale) {}

  std::vector<io::NamedTensor> tensors() const override { return {{"lora_A", A_RI_}, {"lora_E", E_R1_}, {"lora_B", B_OR_}}; }
  Tensor delta(const ops::LinearWeight&) const override { return B_OR_.mm(A_RI_ * E_R1_) * scale_; }
  Tensor multiply(const Tensor& x_TI, const ops::LinearWeight&) const override {
    return x_TI.mm((A_RI_ * E_R1_).t()).mm(B_OR_.t()) * scale_;
  }
  nn::Kept kept(int64_t) const override { return {0, A_RI_.size(0)}; }

 private:
  Tensor A_RI_, E_R1_, B_OR_;
  double scale_;
};

/// N(0, 0.02²).
FirstValues small_normal() {
  return [](const Tensor& tensor, const at::Generator& generator) { tensor.normal_(0.0, 0.02, generator); };
}

AdaLoraOptions with_stored_ranks(AdaLoraOptions options) {
  if (!options.init_from) {
    options.rank_pattern.clear();  // of a pasted config: a new adapter starts with all ranks, as in PEFT
  }
  return options;
}

class AdaLora : public Formula {
 public:
  explicit AdaLora(const AdaLoraOptions& options) : options_(with_stored_ranks(options)), budget_(options_) {}

  std::string name() const override { return "AdaLoRA"; }
  bool takes_conv1d() const override { return true; }
  std::vector<std::string> default_targets(const std::vector<std::string>&) const override { return {}; }
  void complete(nlohmann::json& config) const override {
    config.erase("r");  // of a pasted config: it has no effect, and would be shown as the rank
    config["init_r"] = options_.init_r;
    config["total_step"] = budget_.total_step();  // PEFT refuses a config without it
    config["rank_pattern"] = nullptr;
    for (const auto& [module, ranks] : budget_.rank_pattern()) {
      nlohmann::json& list = config["rank_pattern"][module + ".lora_E"] = nlohmann::json::array();
      std::for_each(ranks.begin(), ranks.end(), [&list](bool is_kept) { list.push_back(is_kept); });
    }
  }
  std::vector<FormulaPart> parts(const ProjectionFacts& projection) const override {
    const int64_t rank = rank_of(projection.module);
    const bool is_default = options_.init_lora_weights;
    return {{"lora_A", {rank, projection.inputs}, is_default ? small_normal() : standard_normal()},
            {"lora_E", {rank, 1}, is_default ? constant(0) : standard_normal()},
            {"lora_B", {projection.outputs, rank}, is_default ? small_normal() : standard_normal()}};
  }
  /// The scale is that of the first rank, however many are left.
  std::shared_ptr<const nn::ProjectionChange> change(const std::string& module, const PartTensors& tensors) const override {
    const double scale = options_.lora_alpha / (static_cast<double>(options_.init_r) + kLeastRank);
    return std::make_shared<const SingularPair>(module, tensors, scale, options_.lora_dropout);
  }
  FormulaTraining* training() override { return &budget_; }

 private:
  int64_t rank_of(const std::string& module) const {
    const auto stored = options_.rank_pattern.find(module);
    return stored == options_.rank_pattern.end() ? options_.init_r : std::count(stored->second.begin(), stored->second.end(), true);
  }

  AdaLoraOptions options_;
  RankBudget budget_;
};

}  // namespace

AdaLoraOptions with_defaults(const AdaLoraOptions& options, const nn::Model& model) {
  AdaLoraOptions settled = options;
  const DefaultTargets defaults = default_targets_of(model.family);
  if (options.target_modules.kind == ModuleChoice::Kind::kNone && !defaults.adalora.empty()) {
    settled.target_modules = {ModuleChoice::Kind::kList, defaults.adalora, ""};
  }
  return settled;
}

std::unique_ptr<Formula> formula_of(const AdaLoraOptions& options) {
  return std::make_unique<AdaLora>(options);
}

}  // namespace lora::peft
