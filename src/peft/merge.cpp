#include "lora/peft/merge.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>

#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/io/tensor_facts.h"
#include "lora/peft/task.h"
#include "peft/report.h"
#include "peft/tensor_file.h"

namespace lora::peft {

namespace {

const char* const kHead = "lm_head";

std::string weight_of(const std::string& module) {
  return module + ".weight";
}

/// Whether a head's update and an embedding's are the same change of a shared weight.
bool is_same_change(const LowRankUpdate& head, const LowRankUpdate& embedding) {
  return !head.is_embedding() && embedding.is_embedding() && !head.magnitude_O && !embedding.magnitude_O && head.scale == embedding.scale &&
         head.A_RI.equal(embedding.B_OR.t()) && head.B_OR.equal(embedding.A_RI.t());
}

bool are_changed_alike(const MergedTensor& head, const MergedTensor& embedding) {
  const bool same_replacement = head.replacement.defined() == embedding.replacement.defined() &&
                                (!head.replacement.defined() || same_values(head.replacement, embedding.replacement));
  const auto is_same_held = [](const HeldTensor& a, const HeldTensor& b) { return a.rows == b.rows && same_values(a.tensor, b.tensor); };
  return same_replacement && std::equal(head.rows.begin(), head.rows.end(), embedding.rows.begin(), embedding.rows.end(), is_same_held) &&
         std::equal(head.updates.begin(), head.updates.end(), embedding.updates.begin(), embedding.updates.end(), is_same_change);
}

class MergePlanner {
 public:
  MergePlanner(const BaseLayout& base, bool subtract) : tied_(base.tied), embedding_(weight_of(base.embedding)), subtract_(subtract) {
    for (const BaseTensor& tensor : base.tensors) {
      const std::string& name = tensor.model_name.empty() ? tensor.name : tensor.model_name;
      if (!tied_ || name != weight_of(kHead)) {
        add_tensor(name, {tensor.name, tensor.name, tensor.shape, tensor.is_float, {}, {}, {}, {}});
      }
    }
    if (const MergedTensor* embedding = tied_ ? find(embedding_) : nullptr) {
      MergedTensor head = *embedding;
      head.name = weight_of(kHead);
      add_tensor(weight_of(kHead), std::move(head));
    }
  }

  void add(const WeightedAdapter& adapter) {
    for (const AdapterUpdate& update : adapter.adapter.updates) {
      std::visit([&](const auto& own) { add_update(own, adapter); }, update);
    }
    std::vector<std::string> unweighted;
    for (const HeldTensor& held : adapter.adapter.held()) {
      if (!held.of_base) {
        unweighted.push_back(held.name);
      }
    }
    if (adapter.weight != 1 && !unweighted.empty()) {
      log::warn("[" + adapter.name +
                "] the weight of the adapter does not apply to its whole tensors: " + join(unweighted, ", ", kNamesShown));
    }
  }

  MergePlan finish(const std::string& where) {
    for (const MergedTensor& tensor : plan_.tensors) {
      const auto has_dora = [](const LowRankUpdate& update) { return update.magnitude_O.has_value(); };
      if (tensor.updates.size() > 1 && std::any_of(tensor.updates.begin(), tensor.updates.end(), has_dora)) {
        faults_["modules with DoRA together with another adapter, whose result would depend on the order"].push_back(tensor.name);
      }
    }
    report(where);
    settle_tie();
    return std::move(plan_);
  }

 private:
  void add_tensor(const std::string& name, MergedTensor tensor) {
    index_.emplace(name, plan_.tensors.size());
    plan_.tensors.push_back(std::move(tensor));
  }

  MergedTensor* find(const std::string& name) {
    const auto found = index_.find(name);
    return found == index_.end() ? nullptr : &plan_.tensors[found->second];
  }

  /// The tensor to change, or null after recording a fault.
  MergedTensor* target(const std::string& name, const std::vector<int64_t>& shape) {
    MergedTensor* tensor = find(name);
    if (tensor == nullptr) {
      faults_["tensors that the base does not have"].push_back(name);
      return nullptr;
    }
    if (tensor->shape != shape) {
      faults_["tensors of another shape in the base"].push_back(name + " " + io::shape_text(tensor->shape) + " instead of " +
                                                                io::shape_text(shape));
      return nullptr;
    }
    if (!tensor->is_float) {
      faults_["tensors that are quantised in the base"].push_back(name);
      return nullptr;
    }
    return tensor;
  }

  void replace(const HeldTensor& whole, const WeightedAdapter& adapter) {
    if (subtract_) {
      if (!whole.of_base) {
        faults_["whole tensors of the adapter, so that the values that they replaced are lost"].push_back(whole.name);
      }
      return;
    }
    const bool is_classifier = is_sequence_classification(adapter.adapter.options);
    plan_.scores_documents = plan_.scores_documents || is_classifier;
    if (is_classifier && !whole.of_base && find(whole.name) == nullptr) {
      add_tensor(whole.name, {whole.name, "", whole.tensor.sizes().vec(), true, {}, {}, {}, {}});
    }
    for (const std::string& name : replaced_by(whole, adapter.adapter.held())) {
      replace(name, whole);
    }
  }

  void replace(const std::string& name, const HeldTensor& whole) {
    MergedTensor* tensor = target(name, whole.tensor.sizes().vec());
    if (tensor == nullptr) {
      return;
    }
    if (tensor->replacement.defined() && !same_values(tensor->replacement, whole.tensor)) {
      faults_["whole tensors of which two adapters have different values"].push_back(name);
    }
    tensor->replacement = whole.tensor;
  }

  /// A base tensor applies to the embedding and to a head tied to it, except where the adapter has a trained tensor. Of two base tensors
  /// the head's is used, because PEFT reads it last.
  std::vector<std::string> replaced_by(const HeldTensor& whole, const std::vector<HeldTensor>& all) const {
    const std::string head = weight_of(kHead);
    if (!tied_ || !whole.of_base || (whole.name != head && whole.name != embedding_)) {
      return {whole.name};
    }
    const auto holds = [&all](const std::string& name, bool of_base) {
      return std::any_of(all.begin(), all.end(),
                         [&](const HeldTensor& held) { return held.name == name && held.rows.empty() && held.of_base == of_base; });
    };
    if (whole.name == embedding_ && holds(head, /*of_base=*/true)) {
      return {};
    }
    std::vector<std::string> names;
    for (const std::string& name : {head, embedding_}) {
      if (!holds(name, /*of_base=*/false)) {
        names.push_back(name);
      }
    }
    return names;
  }

  /// Trained tokens. They apply to a head that is tied to the embedding too, unless the adapter has other tensors for it (as in PEFT).
  void replace_rows(const HeldTensor& held, const WeightedAdapter& adapter) {
    if (subtract_) {
      faults_["rows of trained tokens, so that the values that they replaced are lost"].push_back(held.name);
      return;
    }
    std::vector<std::string> names{held.name};
    const auto is_of_head = [](const HeldTensor& other) { return other.name == weight_of(kHead) && !other.of_base; };
    const std::vector<HeldTensor> all = adapter.adapter.held();
    if (tied_ && held.name == embedding_ && std::none_of(all.begin(), all.end(), is_of_head)) {
      names.push_back(weight_of(kHead));
    }
    for (const std::string& name : names) {
      const MergedTensor* known = find(name);
      const int64_t num_rows = known == nullptr || known->shape.empty() ? 0 : known->shape.front();
      MergedTensor* tensor = target(name, {num_rows, held.tensor.size(1)});
      if (tensor != nullptr && *std::max_element(held.rows.begin(), held.rows.end()) >= num_rows) {
        faults_["tensors with fewer rows than the trained tokens need"].push_back(name);
      } else if (tensor != nullptr) {
        tensor->rows.push_back(held);
      }
    }
  }

  void add_update(const HeldTensor& held, const WeightedAdapter& adapter) {
    held.rows.empty() ? replace(held, adapter) : replace_rows(held, adapter);
  }

  void add_update(const LowRankUpdate& update, const WeightedAdapter& adapter) {
    if (subtract_ && update.magnitude_O) {
      faults_["modules with DoRA, whose norms before the merge are lost"].push_back(update.module);
      return;
    }
    LowRankUpdate scaled = update;
    scaled.scale *= subtract_ ? -adapter.weight : adapter.weight;
    if (MergedTensor* weight = target(weight_of(update.module), weight_shape(update))) {
      weight->updates.push_back(scaled);
    }
    if (update.bias_O) {
      if (MergedTensor* bias = target(update.module + ".bias", update.bias_O->sizes().vec())) {
        bias->addends.push_back(*update.bias_O * scaled.scale);
      }
    }
  }

  void add_update(const FormulaUpdate& update, const WeightedAdapter& adapter) {
    if (subtract_ || adapter.weight != 1) {
      faults_["modules that a formula changes, which can only be merged, with weight 1"].push_back(update.module);
      return;
    }
    MergedTensor* weight = find(weight_of(update.module));
    if (weight == nullptr || weight->shape.size() != 2) {
      faults_["tensors that the base does not have"].push_back(weight_of(update.module));
      return;
    }
    const int64_t inputs = weight->shape[update.is_turned ? 0 : 1], outputs = weight->shape[update.is_turned ? 1 : 0];
    if (const std::string text = misfit(update, inputs, outputs); !text.empty()) {
      faults_["tensors of another shape than the base's module needs"].push_back(update.module + " " + text);
    } else if (target(weight->name, weight->shape) != nullptr) {
      weight->formulas.push_back(update);
    }
    MergedTensor* bias = find(update.module + ".bias");
    if (update.change->changes_bias() && bias != nullptr) {
      bias->formulas.push_back(update);
    }
  }

  void report(const std::string& where) const {
    std::vector<std::string> lines;
    for (const auto& [what, names] : faults_) {
      lines.push_back(what + ": " + join(names, ", ", kNamesShown));
    }
    if (!lines.empty()) {
      model_error(where,
                  std::string("cannot be ") + (subtract_ ? "unmerged from" : "merged into") + " this base: found " + join(lines, "; "));
    }
  }

  /// Removes the head again unless it differs from the embedding now.
  void settle_tie() {
    const MergedTensor* head = find(weight_of(kHead));
    if (!tied_ || head == nullptr) {
      return;
    }
    plan_.unties = !are_changed_alike(*head, *find(embedding_));
    if (!plan_.unties) {
      plan_.tensors.erase(plan_.tensors.begin() + static_cast<std::ptrdiff_t>(index_.at(weight_of(kHead))));
    }
  }

  bool tied_;
  std::string embedding_;
  bool subtract_;
  MergePlan plan_;
  std::map<std::string, size_t> index_;  ///< in plan_.tensors, by the model's names
  std::map<std::string, std::vector<std::string>> faults_;
};

/// The rows, of which the first is row `begin` of the tensor, with the trained rows in place.
Tensor with_token_rows(const Tensor& rows, const std::vector<HeldTensor>& held, int64_t begin) {
  Tensor result = held.empty() ? rows : rows.clone();
  for (const HeldTensor& tokens : held) {
    for (size_t i = 0; i < tokens.rows.size(); ++i) {
      const int64_t row = tokens.rows[i] - begin;
      if (row >= 0 && row < result.size(0)) {
        result[row].copy_(tokens.tensor[static_cast<int64_t>(i)]);
      }
    }
  }
  return result;
}

/// All rows of a weight or bias. Formulas apply before low-rank updates, which other adapters add.
Tensor changed_by_formulas(const MergedTensor& tensor, const Tensor& from) {
  Tensor whole = from.to(at::promote_types(from.scalar_type(), at::kFloat));
  for (const FormulaUpdate& update : tensor.formulas) {
    if (whole.dim() == 1) {
      whole = update.change->merged_bias(whole);
    } else {
      whole = update.is_turned ? update.change->merged_weight(whole.t()).t() : update.change->merged_weight(whole);
    }
  }
  for (const LowRankUpdate& update : tensor.updates) {
    whole = merged(update, whole);
  }
  for (const Tensor& addend : tensor.addends) {
    whole = whole + addend;
  }
  return whole;
}

}  // namespace

bool is_base_copy(const HeldTensor& held, const Adapter& adapter) {
  const std::vector<LowRankUpdate> updates = adapter.low_rank();
  return held.of_base && std::any_of(updates.begin(), updates.end(),
                                     [&held](const LowRankUpdate& update) { return weight_of(update.module) == held.name; });
}

bool MergedTensor::needs_all_rows() const {
  const auto extends_over_rows = [](const LowRankUpdate& update) { return update.is_turned() && update.magnitude_O.has_value(); };
  return !formulas.empty() || std::any_of(updates.begin(), updates.end(), extends_over_rows);
}

MergePlan plan_merge(const BaseLayout& base, const std::vector<WeightedAdapter>& adapters, bool subtract) {
  MergePlanner planner(base, subtract);
  std::vector<std::string> names;
  for (const WeightedAdapter& adapter : adapters) {
    planner.add(adapter);
    names.push_back(adapter.name);
  }
  return planner.finish(join(names));
}

Tensor merged_rows(const MergedTensor& tensor, const Tensor& base, int64_t begin, int64_t end) {
  const at::NoGradGuard no_grad;
  const Tensor& from = tensor.replacement.defined() ? tensor.replacement : base;
  if (!tensor.formulas.empty()) {
    return changed_by_formulas(tensor, with_token_rows(from, tensor.rows, /*begin=*/0)).slice(0, begin, end);
  }
  Tensor rows = from.dim() == 0 ? from : with_token_rows(from.slice(0, begin, end), tensor.rows, begin);
  if (tensor.updates.empty() && tensor.addends.empty()) {
    return rows;
  }
  rows = rows.to(at::promote_types(rows.scalar_type(), at::kFloat));
  for (const LowRankUpdate& update : tensor.updates) {
    rows = merged(rows_of(update, begin, end), rows);
  }
  for (const Tensor& addend : tensor.addends) {
    rows = rows + addend.slice(0, begin, end);
  }
  return rows;
}

}  // namespace lora::peft
