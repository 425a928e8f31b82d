#include "lora/peft/combine.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/base/random.h"
#include "lora/base/text.h"
#include "lora/peft/formats.h"
#include "peft/combine_ia3.h"
#include "peft/low_rank_svd.h"
#include "peft/tensor_file.h"

namespace lora::peft {

namespace {

enum class Pruning { kNone, kMagnitude, kRandom };
enum class Sum { kAll, kElected };
/// What is summed: A and B separately, A and B stacked to a larger rank, or the products B A, truncated by an SVD.
enum class Form { kFactors, kStack, kProducts };

struct Recipe {
  std::string_view name;
  Pruning pruning;
  Sum sum;
  Form form;
};

constexpr std::array<Recipe, 11> kRecipes{{{"linear", Pruning::kNone, Sum::kAll, Form::kFactors},
                                           {"cat", Pruning::kNone, Sum::kAll, Form::kStack},
                                           {"svd", Pruning::kNone, Sum::kAll, Form::kProducts},
                                           {"ties", Pruning::kMagnitude, Sum::kElected, Form::kFactors},
                                           {"ties_svd", Pruning::kMagnitude, Sum::kElected, Form::kProducts},
                                           {"dare_linear", Pruning::kRandom, Sum::kAll, Form::kFactors},
                                           {"dare_ties", Pruning::kRandom, Sum::kElected, Form::kFactors},
                                           {"dare_linear_svd", Pruning::kRandom, Sum::kAll, Form::kProducts},
                                           {"dare_ties_svd", Pruning::kRandom, Sum::kElected, Form::kProducts},
                                           {"magnitude_prune", Pruning::kMagnitude, Sum::kAll, Form::kFactors},
                                           {"magnitude_prune_svd", Pruning::kMagnitude, Sum::kAll, Form::kProducts}}};

const Recipe& find_recipe(const std::string& name) {
  for (const Recipe& recipe : kRecipes) {
    if (name == recipe.name) {
      return recipe;
    }
  }
  config_error("--combine", "found '" + name + "', expected one of " + join(combine_methods()) + did_you_mean(name, combine_methods()));
}

/// Every option that the method needs is given, and none that it would ignore.
void require_valid_options(const Recipe& recipe, const CombineOptions& options, size_t num_adapters) {
  const std::string method = "'" + options.method + "'";
  const auto require_effect = [&method](bool given, bool used, const char* flag) {
    if (given && !used) {
      config_error(flag, "is not used by " + method + ". Leave it out, or choose another --combine.");
    }
  };
  require_effect(options.svd_rank.has_value(), recipe.form == Form::kProducts, "--svd-rank");
  require_effect(options.density.has_value(), recipe.pruning != Pruning::kNone, "--density");
  require_effect(options.majority_sign_method.has_value(), recipe.sum == Sum::kElected, "--majority-sign-method");
  if (recipe.pruning != Pruning::kNone && !options.density) {
    config_error("--density", "is missing: " + method + " needs the fraction of values to keep, above 0 and at most 1");
  }
  if (options.density && !(*options.density > 0 && *options.density <= 1)) {
    config_error("--density", "found " + std::to_string(*options.density) + ", expected a fraction above 0 and at most 1");
  }
  if (options.svd_rank && *options.svd_rank < 1) {
    config_error("--svd-rank", "found " + std::to_string(*options.svd_rank) + ", expected at least 1");
  }
  if (num_adapters < 2 && options.method != "linear") {
    config_error("--combine",
                 "found one --adapter for " + method + ", expected at least two. Use linear to scale one adapter by its --weight.");
  }
}

/// A module's update in one of the adapters.
struct WeightedUpdate {
  LowRankUpdate update;
  double weight;
};
using Modules = std::map<std::string, std::vector<WeightedUpdate>>;

/// What cannot be combined, by reason.
using Faults = std::map<std::string, std::set<std::string>>;

void report(const Faults& faults) {
  std::vector<std::string> lines;
  for (const auto& [what, names] : faults) {
    lines.push_back(what + ": " + join({names.begin(), names.end()}, ", ", 2));
  }
  if (!lines.empty()) {
    model_error("--combine", "these adapters cannot be combined in this way: found " + join(lines, "; "));
  }
}

/// The adapters' updates by module; collects what cannot be combined.
Modules modules_of(const std::vector<WeightedAdapter>& adapters, Faults& faults) {
  Modules modules;
  for (const WeightedAdapter& adapter : adapters) {
    for (const HeldTensor& whole : adapter.adapter.held()) {
      if (!whole.of_base) {
        faults["whole tensors, which have no weighted sum (modules_to_save, biases)"].insert(whole.name);
      }
    }
    for (const LowRankUpdate& update : adapter.adapter.low_rank()) {
      if (update.magnitude_O || update.bias_O) {
        faults["modules with DoRA or lora_bias"].insert(update.module);
      }
      modules[update.module].push_back({update, adapter.weight});
    }
  }
  return modules;
}

void check_shapes(const Modules& modules, const Recipe& recipe, Faults& faults) {
  for (const auto& [module, parts] : modules) {
    const LowRankUpdate& first = parts.front().update;
    for (const WeightedUpdate& part : parts) {
      const LowRankUpdate& other = part.update;
      const bool fits = other.is_embedding() == first.is_embedding() && other.A_RI.size(1) == first.A_RI.size(1) &&
                        other.B_OR.size(0) == first.B_OR.size(0) && other.kernel == first.kernel;
      if (!fits) {
        faults["modules of different shapes"].insert(module);
      } else if (recipe.form == Form::kFactors && other.rank() != first.rank()) {
        faults["modules of different ranks, whose A and B have no sum (use cat or an svd method)"].insert(module);
      }
    }
  }
}

Tensor keep_largest(const Tensor& tensor, double density) {
  const auto count = static_cast<int64_t>(density * static_cast<double>(tensor.numel()));
  const Tensor largest = std::get<1>(at::topk(tensor.abs().flatten(), count));
  return tensor * at::zeros({tensor.numel()}, tensor.options()).index_fill_(0, largest, 1).view(tensor.sizes());
}

/// Keeps each value with probability `density`, scaled so that the expected sum is unchanged.
Tensor keep_any(const Tensor& tensor, double density, const at::Generator& generator) {
  return tensor * at::bernoulli(at::full_like(tensor, density), generator) / density;
}

/// The mean of the elements with the elected sign.
Tensor elected_mean(const Tensor& stacked, const Tensor& weighted, MajoritySign method) {
  const Tensor sign = stacked.sign();
  const Tensor total = method == MajoritySign::kTotal ? stacked.sum(0) : sign.sum(0);
  const Tensor is_elected = sign == at::where(total >= 0, 1.0, -1.0);
  return (weighted * is_elected).sum(0) / is_elected.sum(0).clamp_min(1);
}

/// Combines the updates of one module, sampling in the same order as PEFT.
class Combiner {
 public:
  Combiner(const Recipe& recipe, const CombineOptions& options, int64_t largest_rank)
      : recipe_(recipe), options_(options), rank_(options.svd_rank.value_or(largest_rank)) {}

  LowRankUpdate combine(const std::string& module, const std::vector<WeightedUpdate>& parts) {
    generator_ = at::detail::createCPUGenerator(mix64(options_.seed, hash_name(module)));
    LowRankUpdate result;
    result.module = module;
    result.kind = parts.front().update.kind;
    result.kernel = parts.front().update.kernel;
    if (recipe_.form == Form::kFactors) {
      combine_factors(parts, result);
    } else if (recipe_.form == Form::kStack) {
      stack(parts, result);
    } else if (recipe_.pruning == Pruning::kNone) {
      stack(parts, result);
      cut(product_svd(result.B_OR, result.A_RI), result);
    } else {
      cut(at::linalg_svd(mixed_product(parts), /*full_matrices=*/false), result);
    }
    result.alpha = static_cast<double>(result.rank());
    return result;
  }

 private:
  Tensor pruned(const Tensor& tensor) const {
    const double density = options_.density.value_or(1);
    if (recipe_.pruning == Pruning::kNone || density >= 1) {
      return tensor;
    }
    return recipe_.pruning == Pruning::kMagnitude ? keep_largest(tensor, density) : keep_any(tensor, density, generator_);
  }

  Tensor mixed(const std::vector<Tensor>& tensors, const std::vector<double>& weights) const {
    std::vector<Tensor> kept;
    for (const Tensor& tensor : tensors) {
      kept.push_back(pruned(tensor));
    }
    const Tensor stacked = at::stack(kept);
    const Tensor weighted = stacked * at::tensor(weights, at::kDouble).to(at::kFloat).view({-1, 1, 1});
    return recipe_.sum == Sum::kAll ? weighted.sum(0)
                                    : elected_mean(stacked, weighted, options_.majority_sign_method.value_or(MajoritySign::kTotal));
  }

  void combine_factors(const std::vector<WeightedUpdate>& parts, LowRankUpdate& result) const {
    std::vector<Tensor> As, Bs;
    std::vector<double> A_weights, B_weights;
    for (const WeightedUpdate& part : parts) {
      const double factor = part.weight * part.update.scale;
      As.push_back(part.update.A_RI);
      Bs.push_back(part.update.B_OR);
      A_weights.push_back(std::copysign(std::sqrt(std::abs(factor)), factor));
      B_weights.push_back(std::sqrt(std::abs(factor)));
    }
    result.A_RI = mixed(As, A_weights);
    result.B_OR = mixed(Bs, B_weights);
  }

  static void stack(const std::vector<WeightedUpdate>& parts, LowRankUpdate& result) {
    std::vector<Tensor> As, Bs;
    for (const WeightedUpdate& part : parts) {
      As.push_back(part.update.A_RI * part.weight * part.update.scale);
      Bs.push_back(part.update.B_OR);
    }
    result.A_RI = at::cat(As, 0);
    result.B_OR = at::cat(Bs, 1);
  }

  /// [O, I]. PEFT prunes in the layout of the weight, which matters for random pruning.
  Tensor mixed_product(const std::vector<WeightedUpdate>& parts) const {
    std::vector<Tensor> products;
    std::vector<double> weights;
    for (const WeightedUpdate& part : parts) {
      products.push_back(delta(part.update).flatten(1));
      weights.push_back(part.weight);
    }
    const Tensor sum = mixed(products, weights);
    return parts.front().update.is_turned() ? sum.t() : sum;
  }

  /// The best approximation of the requested rank; B contains the singular values.
  void cut(const std::tuple<Tensor, Tensor, Tensor>& svd, LowRankUpdate& result) const {
    const auto& [U, S, Vh] = svd;
    result.A_RI = Vh.slice(0, 0, rank_).to(at::kFloat).contiguous();
    result.B_OR = (U * S).slice(1, 0, rank_).to(at::kFloat).contiguous();
  }

  const Recipe& recipe_;
  const CombineOptions& options_;
  int64_t rank_;
  at::Generator generator_;
};

int64_t largest_rank(const Modules& modules) {
  int64_t largest = 1;
  for (const auto& [module, parts] : modules) {
    for (const WeightedUpdate& part : parts) {
      largest = std::max(largest, part.update.rank());
    }
  }
  return largest;
}

bool chooses_by_names_alone(const LoraOptions& options) {
  return options.target_modules.kind == ModuleChoice::Kind::kList && options.exclude_modules.kind == ModuleChoice::Kind::kNone &&
         !options.layers_to_transform;
}

/// The union of the adapters' target_modules, or nothing if those are more than names: write_adapter then lists the modules.
ModuleChoice combined_targets(const std::vector<WeightedAdapter>& adapters) {
  std::set<std::string> names;
  for (const WeightedAdapter& adapter : adapters) {
    const LoraOptions& options = adapter.adapter.options;
    if (!chooses_by_names_alone(options)) {
      return {};
    }
    names.insert(options.target_modules.names.begin(), options.target_modules.names.end());
  }
  return {ModuleChoice::Kind::kList, {names.begin(), names.end()}, ""};
}

LoraOptions combined_options(const std::vector<WeightedAdapter>& adapters) {
  LoraOptions options = adapters.front().adapter.options;
  list_targets(options);
  options.target_modules = combined_targets(adapters);
  options.use_rslora = false;
  options.init_from.reset();
  return options;
}

/// Base tensors in the adapters' files: one of them is enough if they are equal.
std::vector<AdapterUpdate> shared_base_values(const std::vector<WeightedAdapter>& adapters, Faults& faults) {
  std::vector<HeldTensor> shared;
  for (const WeightedAdapter& adapter : adapters) {
    for (const HeldTensor& held : adapter.adapter.held()) {
      const auto found = std::find_if(shared.begin(), shared.end(), [&held](const HeldTensor& other) { return other.name == held.name; });
      if (held.of_base && found == shared.end()) {
        shared.push_back(held);
      } else if (held.of_base && !same_values(found->tensor, held.tensor)) {
        faults["base tensors of which two adapters have different values"].insert(held.name);
      }
    }
  }
  return {shared.begin(), shared.end()};
}

}  // namespace

std::vector<std::string> combine_methods() {
  std::vector<std::string> names;
  for (const Recipe& recipe : kRecipes) {
    names.emplace_back(recipe.name);
  }
  return names;
}

Adapter combine(const std::vector<WeightedAdapter>& adapters, const CombineOptions& options) {
  const at::NoGradGuard no_grad;
  const Recipe& recipe = find_recipe(options.method);
  require_valid_options(recipe, options, adapters.size());
  Faults faults;
  for (const WeightedAdapter& adapter : adapters) {
    require_settled(adapter.adapter);
    require_combinable(adapter.adapter);
  }
  if (has_vectors(adapters.front().adapter)) {
    return combined_ia3(adapters, options);
  }
  for (const WeightedAdapter& adapter : adapters) {
    require_low_rank(adapter.adapter, "combined with one of LoRA");
  }
  const Modules modules = modules_of(adapters, faults);
  check_shapes(modules, recipe, faults);
  Adapter result;
  result.updates = shared_base_values(adapters, faults);
  report(faults);
  Combiner combiner(recipe, options, largest_rank(modules));
  result.options = combined_options(adapters);
  result.config = adapters.front().adapter.config;
  for (const auto& [module, parts] : modules) {
    throw_if_interrupted();
    log::progress("combining " + module);
    result.updates.emplace_back(combiner.combine(module, parts));
  }
  log::end_progress();
  return result;
}

size_t write_combined(const std::filesystem::path& folder, const Adapter& combined, const std::string& base_name) {
  if (has_vectors(combined)) {
    return write_ia3(folder, combined, base_name);
  }
  return write_foreign_adapter(AdapterFormat::kPeft, folder, combined, {base_name, {}, {}}, {}).num_modules;
}

}  // namespace lora::peft
