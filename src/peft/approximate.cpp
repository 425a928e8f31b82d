#include "lora/peft/approximate.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <map>
#include <set>

#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/base/random.h"
#include "lora/nn/weight_delta.h"
#include "lora/ops/linear_weight.h"
#include "peft/low_rank_svd.h"
#include "peft/update_forms.h"

namespace lora::peft {

namespace {

/// `update` with these factors and scale 1.
LowRankUpdate with_factors(LowRankUpdate update, Factors factors) {
  if (update.bias_O) {
    update.bias_O = *update.bias_O * update.scale;
  }
  update.A_RI = std::move(factors.A);
  update.B_OR = std::move(factors.B);
  update.alpha = static_cast<double>(update.rank());
  update.scale = 1;
  return update;
}

/// ‖B A - product of the factors‖, without forming either product.
double distance(const Tensor& B, const Tensor& A, const Factors& factors) {
  return product_norm(at::cat({B, -factors.B.to(at::kDouble)}, 1), at::cat({A, factors.A.to(at::kDouble)}, 0));
}

void add_resized(const LowRankUpdate& update, int64_t rank, Approximation& result) {
  const Tensor B = update.B_OR.to(at::kDouble) * update.scale;
  const Tensor A = update.A_RI.to(at::kDouble);
  const Factors factors = factors_of_rank(product_svd(B, A), rank);
  result.modules.push_back({update.module, product_norm(B, A), distance(B, A, factors)});
  result.adapter.updates.push_back(with_factors(update, factors));
}

/// Adds the update that approximates `change`, the change of a whole weight in its layout.
void add_nearest(LowRankUpdate update, const Tensor& change, int64_t rank, Approximation& result) {
  const Tensor change_OI = update.is_turned() ? change.t() : change.flatten(1);
  Factors factors = factors_of_rank(leading_svd(change_OI, rank, hash_name(update.module)), rank);
  const Tensor rest = change_OI - at::mm(factors.B, factors.A);
  result.modules.push_back({update.module, frobenius_norm(change_OI), frobenius_norm(rest)});
  result.adapter.updates.push_back(with_factors(std::move(update), std::move(factors)));
}

Tensor widened(const Tensor& weight) {
  return weight.to(at::promote_types(weight.scalar_type(), at::kFloat));
}

void add_baked(LowRankUpdate update, const Tensor& weight, int64_t rank, Approximation& result) {
  const Tensor wide = widened(weight);
  const Tensor change = merged(update, wide) - wide;
  update.magnitude_O.reset();
  add_nearest(std::move(update), change, rank, result);
}

/// The change [O, I] that a formula makes of the weight. One that adds to the weight gives it without the sum's rounding.
Tensor change_by_formula(const nn::ProjectionChange& formula, const Tensor& W_OI) {
  const auto* const added = dynamic_cast<const nn::WeightDelta*>(&formula);
  return added != nullptr ? added->delta(ops::DenseWeight(W_OI)) : formula.merged_weight(W_OI) - W_OI;
}

void add_approximated(const FormulaUpdate& formula, const Tensor& weight, int64_t rank, Approximation& result) {
  LowRankUpdate update;
  update.module = formula.module;
  update.kind = formula.is_turned ? PairKind::kConv1D : PairKind::kLinear;
  const Tensor wide = widened(weight);
  const Tensor change_OI = change_by_formula(*formula.change, formula.is_turned ? wide.t() : wide);
  add_nearest(std::move(update), formula.is_turned ? change_OI.t() : change_OI, rank, result);
}

/// Leaves of another method's options those that LoRA has too.
void forget_method(LoraOptions& options) {
  Json kept = Json::object();
  for (const char* key : {"task_type", "auto_mapping", "revision"}) {
    if (options.config.contains(key)) {
      kept[key] = options.config[key];
    }
  }
  options.config = kept;
}

/// The adapter without its low-rank updates.
Approximation empty_copy(const Adapter& adapter) {
  Approximation result;
  result.adapter = adapter;
  result.adapter.set_low_rank({});
  result.adapter.options.use_rslora = false;
  return result;
}

double sum_of_squares(const std::vector<ModuleError>& modules, double ModuleError::*member) {
  double sum = 0;
  for (const ModuleError& module : modules) {
    sum += module.*member * module.*member;
  }
  return sum;
}

double root_of_share(double part, double whole) {
  return whole > 0 ? std::sqrt(part / whole) : 0;
}

/// Compares two checkpoints and sorts their differences.
class Extractor {
 public:
  Extractor(const io::Checkpoint& base, const io::Checkpoint& tuned, const ExtractionTargets& targets, int64_t rank)
      : base_(base),
        tuned_(tuned),
        linears_(targets.linears.begin(), targets.linears.end()),
        embeddings_(targets.embeddings.begin(), targets.embeddings.end()),
        turned_(targets.turned.begin(), targets.turned.end()),
        model_name_(targets.model_name),
        rank_(rank) {
    for (const std::string& name : tuned_.names()) {
      tuned_files_.emplace(targets.tuned_name ? targets.tuned_name(name) : name, name);
    }
  }

  Extraction run() {
    for (const std::string& name : base_.names()) {
      throw_if_interrupted();
      log::progress("comparing " + name);
      const auto found = tuned_files_.find(of_model(name));
      if (found == tuned_files_.end()) {
        result_.not_captured.push_back({name, "only in the base"});
        continue;
      }
      compare(name, found->second);
      tuned_files_.erase(found);
    }
    for (const auto& [own, name] : tuned_files_) {
      result_.not_captured.push_back({name, "only in the tuned model"});
    }
    log::end_progress();
    return std::move(result_);
  }

 private:
  std::string of_model(const std::string& name) const { return model_name_ ? model_name_(name) : name; }

  void compare(const std::string& name, const std::string& tuned_name) {
    const Tensor base = base_.tensor(name);
    const Tensor tuned = tuned_.tensor(tuned_name);
    if (base.sizes() != tuned.sizes()) {
      result_.not_captured.push_back({name, "of another shape"});
    } else if (!base.is_floating_point() || !tuned.is_floating_point()) {
      if (!at::equal(base, tuned.to(base.scalar_type()))) {
        result_.not_captured.push_back({name, "not floating-point numbers"});
      }
    } else {
      take(name, widened(tuned) - widened(base));
    }
    base_.release(name);
    tuned_.release(tuned_name);
  }

  void take(const std::string& name, const Tensor& change) {
    const double norm = frobenius_norm(change);
    if (!std::isfinite(norm)) {
      model_error(name, "has a value that is not finite (NaN or infinity) in one of the checkpoints. The file is damaged.");
    }
    if (norm == 0) {
      return;
    }
    constexpr std::string_view kEnd = ".weight";
    const std::string own = of_model(name);
    const std::string module = own.ends_with(kEnd) ? own.substr(0, own.size() - kEnd.size()) : "";
    const bool is_embedding = embeddings_.count(module) > 0;
    const bool is_convolution = change.dim() > 2;
    if (change.dim() >= 2 && (is_embedding || linears_.count(module) > 0)) {
      LowRankUpdate update;
      update.module = module;
      const bool is_turned = turned_.count(module) > 0;
      update.kind = is_embedding ? PairKind::kEmbedding : is_turned ? PairKind::kConv1D : PairKind::kLinear;
      if (is_convolution) {
        update.kind = PairKind::kConvolution;
        update.kernel = change.sizes().slice(2).vec();
      }
      add_nearest(std::move(update), change, rank_, result_.approximation);
    } else {
      result_.not_captured.push_back({name, change.dim() == 2 ? "not a target" : "not a linear module's weight", norm});
    }
  }

  const io::Checkpoint& base_;
  const io::Checkpoint& tuned_;
  std::set<std::string> linears_;
  std::set<std::string> embeddings_;
  std::set<std::string> turned_;
  std::function<std::string(const std::string&)> model_name_;
  std::map<std::string, std::string> tuned_files_;  ///< tensors of the tuned model that have not been compared yet, by the model's names
  int64_t rank_;
  Extraction result_;
};

}  // namespace

double Approximation::relative_error() const {
  return root_of_share(sum_of_squares(modules, &ModuleError::error), sum_of_squares(modules, &ModuleError::norm));
}

double Extraction::relative_error_of_all() const {
  double lost = 0;
  for (const NotCaptured& tensor : not_captured) {
    lost += tensor.norm * tensor.norm;
  }
  return root_of_share(lost + sum_of_squares(approximation.modules, &ModuleError::error),
                       lost + sum_of_squares(approximation.modules, &ModuleError::norm));
}

Approximation resized(const Adapter& adapter, int64_t rank) {
  const at::NoGradGuard no_grad;
  require_low_rank(adapter, "resized");
  Approximation result = empty_copy(adapter);
  for (const LowRankUpdate& update : adapter.low_rank()) {
    throw_if_interrupted();
    add_resized(update, rank, result);
  }
  return result;
}

Adapter with_folded_scales(Adapter adapter) {
  const at::NoGradGuard no_grad;
  std::vector<LowRankUpdate> updates;
  for (LowRankUpdate& update : adapter.low_rank()) {
    updates.push_back(with_scale(std::move(update), 1));
  }
  adapter.set_low_rank(std::move(updates));
  adapter.options.use_rslora = false;
  return adapter;
}

Approximation baked(const Adapter& adapter, int64_t rank, const WeightOf& weight_of) {
  const at::NoGradGuard no_grad;
  Approximation result = empty_copy(adapter);
  const std::vector<FormulaUpdate> formulas = of_kind<FormulaUpdate>(adapter.updates);
  if (!formulas.empty()) {
    std::erase_if(result.adapter.updates, [](const AdapterUpdate& update) { return std::holds_alternative<FormulaUpdate>(update); });
    forget_method(result.adapter.options);
  }
  for (const FormulaUpdate& update : formulas) {
    throw_if_interrupted();
    log::progress("approximating " + update.module);
    add_approximated(update, weight_of(update.module), rank, result);
  }
  for (const LowRankUpdate& update : adapter.low_rank()) {
    throw_if_interrupted();
    log::progress("baking " + update.module);
    if (update.magnitude_O) {
      add_baked(update, weight_of(update.module), rank, result);
    } else {
      add_resized(update, rank, result);
    }
  }
  log::end_progress();
  result.adapter.options.use_dora = false;
  return result;
}

Extraction extracted(const io::Checkpoint& base, const io::Checkpoint& tuned, const ExtractionTargets& targets, int64_t rank) {
  const at::NoGradGuard no_grad;
  Extraction result = Extractor(base, tuned, targets, rank).run();
  if (result.approximation.adapter.updates.empty()) {
    const size_t others = result.not_captured.size();
    model_error("--extract",
                "the two checkpoints do not differ in any target module: found " + std::to_string(others) + " other differences. " +
                    (others == 0 ? "Likely cause: --base and --tuned are the same model." : "Choose others with --target-modules."));
  }
  return result;
}

}  // namespace lora::peft
