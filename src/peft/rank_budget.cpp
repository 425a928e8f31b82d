#include "peft/rank_budget.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/nn/weight_changes.h"
#include "lora/peft/file_names.h"
#include "peft/keys.h"
#include "peft/tensor_file.h"

namespace lora::peft {

namespace {

const char* const kSensitivity = ".sensitivity";
const char* const kUncertainty = ".uncertainty";
const char* const kKeptRanks = ".kept";

/// Adds to the gradient of `vectors` that of weight · ‖V Vᵀ - I‖, where V has the vectors as rows. Returns ‖V Vᵀ - I‖.
Tensor add_orthogonality(const Tensor& vectors, bool are_columns, double weight) {
  const Tensor values = vectors.detach();
  const Tensor V_RN = are_columns ? values.t() : values;
  const Tensor error_RR = V_RN.mm(V_RN.t()) - at::eye(V_RN.size(0), values.options());
  const Tensor norm = at::linalg_vector_norm(error_RR);
  const Tensor factor = (2 * weight / norm).masked_fill(norm.eq(0), 0);
  const Tensor gradient_RN = error_RR.mm(V_RN) * factor;
  const Tensor gradient = are_columns ? gradient_RN.t() : gradient_RN;
  Tensor& sum = vectors.mutable_grad();
  if (sum.defined()) {
    sum.add_(gradient);
  } else {
    sum = gradient.contiguous();
  }
  return norm;
}

/// The stored tensor, on the device of `like`. Throws model Error if it is missing or has another shape.
Tensor stored_like(const StoredTensors& stored, const std::string& name, const Tensor& like, const std::string& file) {
  const auto found = stored.find(name);
  if (found == stored.end() || found->second.sizes() != like.sizes()) {
    model_error(file, "does not fit this run: found " + (found == stored.end() ? "no tensor " + name : name + " of another shape") +
                          ", expected one of shape " + c10::str(like.sizes()));
  }
  return found->second.to(like.options());
}

}  // namespace

double RankBudget::add_loss() {
  if (options_.orth_reg_weight == 0 || modules_.empty()) {
    return 0;
  }
  const at::NoGradGuard no_grad;
  const double weight = options_.orth_reg_weight / static_cast<double>(2 * modules_.size());
  std::vector<Tensor> norms;
  for (const Module& module : modules_) {
    norms.push_back(add_orthogonality(module.A_RI.tensor, /*are_columns=*/false, weight));
    norms.push_back(add_orthogonality(module.B_OR.tensor, /*are_columns=*/true, weight));
  }
  return weight * at::stack(norms).sum(at::kDouble).item<double>();
}

void RankBudget::after_update(int64_t step, std::optional<double> gradient_scale) {
  const at::NoGradGuard no_grad;
  const int64_t last = total_step() - options_.tfinal;
  if (step < last && gradient_scale) {
    for (Module& module : modules_) {
      for (Part* part : module.parts()) {
        measure(*part, *gradient_scale);
      }
    }
  }
  if (step == last || (step > options_.tinit && step < last && step % options_.deltaT == 0)) {
    remove_down_to(budget(step));
  }
  if (step >= last) {
    for (Module& module : modules_) {
      for (Part* part : module.parts()) {
        part->sensitivity = part->uncertainty = Tensor();
      }
    }
    set_removed_to_zero();
  }
  nn::trained_weights_changed();
}

/// Equations 8 to 10 of the paper.
void RankBudget::measure(Part& part, double gradient_scale) const {
  const Tensor& gradient = part.tensor.grad();
  const Tensor values = part.tensor.detach();
  const Tensor now = gradient.defined() ? (values * (gradient * gradient_scale)).abs() : at::zeros_like(values);
  if (!part.sensitivity.defined()) {
    part.sensitivity = at::zeros_like(values);
    part.uncertainty = at::zeros_like(values);
  }
  part.sensitivity = options_.beta1 * part.sensitivity + (1 - options_.beta1) * now;
  part.uncertainty = options_.beta2 * part.uncertainty + (1 - options_.beta2) * (now - part.sensitivity).abs();
}

int64_t RankBudget::initial_budget() const {
  int64_t ranks = 0;
  for (const Module& module : modules_) {
    ranks += module.rank();
  }
  return ranks;
}

/// The cubic schedule of equation 12.
int64_t RankBudget::budget(int64_t step) const {
  const int64_t initial = initial_budget();
  const int64_t target = options_.target_r * static_cast<int64_t>(modules_.size());
  const double rest =
      1 - static_cast<double>(step - options_.tinit) / static_cast<double>(total_step() - options_.tfinal - options_.tinit);
  return static_cast<int64_t>(static_cast<double>(initial - target) * std::pow(rest, 3) + static_cast<double>(target));
}

void RankBudget::remove_down_to(int64_t budget) {
  const int64_t removed = initial_budget() - budget;
  const bool is_measured = std::all_of(modules_.begin(), modules_.end(), [](const Module& m) { return m.E_R1.sensitivity.defined(); });
  if (removed <= 0 || !is_measured) {
    return;
  }
  std::vector<Tensor> importance;
  for (const Module& module : modules_) {
    const Tensor vectors_R = module.A_RI.importance().mean(1) + module.B_OR.importance().mean(0);
    importance.push_back(module.E_R1.importance().view(-1) + vectors_R);
  }
  const Tensor threshold = std::get<0>(at::kthvalue(at::cat(importance), removed));
  for (size_t i = 0; i < modules_.size(); ++i) {
    modules_[i].kept_R = importance[i].gt(threshold);
  }
  set_removed_to_zero();
}

void RankBudget::set_removed_to_zero() {
  for (const Module& module : modules_) {
    if (module.kept_R.defined()) {
      module.E_R1.tensor.detach().masked_fill_(module.kept_R.logical_not().unsqueeze(1), 0);
    }
  }
}

void RankBudget::watch(const std::vector<FormulaUpdate>& updates) {
  for (const FormulaUpdate& update : updates) {
    PartTensors tensors;
    for (const io::NamedTensor& part : update.change->tensors()) {
      tensors.emplace(part.name, part.tensor);
    }
    const auto part_of_pair = [&](const char* name) { return Part{name, formula_part(tensors, update.module, name), {}, {}}; };
    modules_.push_back({update.module, part_of_pair("lora_A"), part_of_pair("lora_E"), part_of_pair("lora_B"), {}});
  }
}

void RankBudget::plan(int64_t total_steps) {
  total_steps_ = total_steps;
  const int64_t last = total_step() - options_.tfinal;
  const std::string lengths = "tinit " + std::to_string(options_.tinit) + ", tfinal " + std::to_string(options_.tfinal) + " and " +
                              std::to_string(total_step()) + " steps";
  if (last <= std::max<int64_t>(options_.tinit, 1)) {
    config_error("adapter.tfinal", "AdaLoRA has no steps to remove ranks in: found " + lengths +
                                       ", expected tinit + tfinal below the number of steps, and two steps or more before tfinal");
  }
  if (last > total_steps) {
    log::warn("[adapter.total_step] the run ends before AdaLoRA reaches target_r: found " + lengths + " for a run of " +
              std::to_string(total_steps) + ". Leave total_step out to use the run's length.");
  }
}

int64_t RankBudget::total_step() const {
  return options_.total_step.value_or(total_steps_ > 0 ? total_steps_ : options_.tinit + options_.tfinal + 1);
}

void RankBudget::shorten(std::vector<io::NamedTensor>& tensors) const {
  for (const Module& module : modules_) {
    if (!module.kept_R.defined()) {
      continue;
    }
    const Tensor kept = module.kept_R.nonzero().squeeze(1);
    for (const Part* part : module.parts()) {
      const std::string key = file_key(module.name + "." + part->name);
      for (io::NamedTensor& entry : tensors) {
        if (entry.name == key) {
          entry.tensor = entry.tensor.index_select(part == &module.B_OR ? 1 : 0, kept.to(entry.tensor.device()));
        }
      }
    }
  }
}

void RankBudget::save(const std::filesystem::path& folder) const {
  std::vector<io::NamedTensor> tensors;
  for (const Module& module : modules_) {
    for (const Part* part : module.parts()) {
      const std::string name = module.name + "." + part->name;
      tensors.push_back({name, part->tensor.detach()});
      if (part->sensitivity.defined()) {
        tensors.push_back({name + kSensitivity, part->sensitivity});
        tensors.push_back({name + kUncertainty, part->uncertainty});
      }
    }
    if (module.kept_R.defined()) {
      tensors.push_back({module.name + kKeptRanks, module.kept_R.to(at::kFloat)});
    }
  }
  io::save_tensors(folder / kRankBudgetFile, tensors);
}

void RankBudget::load(const std::filesystem::path& folder, PartTensors& stored) {
  const std::filesystem::path file = folder / kRankBudgetFile;
  if (!std::filesystem::exists(file)) {
    model_error(folder.string(), std::string("cannot be trained further: found no ") + kRankBudgetFile +
                                     ", expected the ranks that PEFT's file leaves out. Start a new run with init_from.");
  }
  StoredTensors own;
  std::map<std::string, std::string> metadata;
  for (io::NamedTensor& entry : read_tensors(file, metadata)) {
    own.emplace(entry.name, entry.tensor);
  }
  for (Module& module : modules_) {
    for (Part* part : module.parts()) {
      const std::string name = module.name + "." + part->name;
      stored[name] = stored_like(own, name, part->tensor, file.string());
      const bool is_measured = own.contains(name + kSensitivity);
      part->sensitivity = is_measured ? stored_like(own, name + kSensitivity, part->tensor, file.string()) : Tensor();
      part->uncertainty = is_measured ? stored_like(own, name + kUncertainty, part->tensor, file.string()) : Tensor();
    }
    const std::string kept = module.name + kKeptRanks;
    module.kept_R = own.contains(kept) ? stored_like(own, kept, module.E_R1.tensor.detach().view(-1), file.string()).ne(0) : Tensor();
  }
}

std::map<std::string, std::vector<bool>> RankBudget::rank_pattern() const {
  std::map<std::string, std::vector<bool>> pattern = options_.rank_pattern;
  for (const Module& module : modules_) {
    if (!module.kept_R.defined()) {
      continue;
    }
    const Tensor kept_R = module.kept_R.cpu();
    std::vector<bool>& ranks =
        pattern.emplace(module.name, std::vector<bool>(static_cast<size_t>(options_.init_r), true)).first->second;
    int64_t row = 0;
    for (size_t i = 0; i < ranks.size(); ++i) {
      if (ranks[i]) {
        ranks[i] = kept_R.data_ptr<bool>()[row++];
      }
    }
  }
  return pattern;
}

}  // namespace lora::peft
