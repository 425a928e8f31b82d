#include "lora/peft/adapter.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/text.h"
#include "lora/io/tensor_facts.h"
#include "lora/peft/adapter_folder.h"
#include "lora/peft/base_reference.h"
#include "lora/peft/file_names.h"
#include "peft/adapter_config.h"
#include "peft/folder_parts.h"
#include "peft/keys.h"
#include "peft/lora.h"
#include "peft/lora_init.h"
#include "peft/targets.h"
#include "peft/tensor_file.h"
#include "peft/update_forms.h"

namespace lora::peft {

namespace {

/// Creates updates and held tensors from a folder's tensors, and collects what does not fit.
class AdapterReader {
 public:
  AdapterReader(const AdapterFolder& folder, const LoraOptions& options) : folder_(folder), is_target_(named_targets(options)) {}

  void read(Adapter& adapter) {
    for (const auto& [name, tensor] : folder_.tensors()) {
      take(tensor, adapter);
    }
    for (auto& [module, parts] : modules_) {
      add_update(module, parts, adapter);
    }
    report();
  }

 private:
  using Parts = std::map<ParameterRole, Tensor>;

  void take(const AdapterTensor& tensor, Adapter& adapter) {
    if (is_of_pair(tensor.role)) {
      modules_[tensor.module].emplace(tensor.role, tensor.tensor);
    } else if (tensor.role == ParameterRole::kTokenRows) {
      add_token_rows(tensor.module, tensor.tensor, adapter);
    } else if (tensor.role == ParameterRole::kFormula) {
      faults_["with tensors of another method than LoRA"].push_back(tensor.name);
    } else {
      adapter.updates.emplace_back(HeldTensor{{tensor.name, tensor.tensor}, {}, tensor.of_base});
    }
  }

  /// adapter_config.json tells which rows they are.
  void add_token_rows(const std::string& module, const Tensor& rows_ND, Adapter& adapter) {
    const std::vector<TokenIndices>& all = adapter.options.trainable_token_indices;
    const auto found = std::find_if(all.begin(), all.end(), [&module](const TokenIndices& indices) {
      return indices.layer.empty() || module == indices.layer || module.ends_with("." + indices.layer);
    });
    if (found == all.end() || rows_ND.dim() != 2 || rows_ND.size(0) != static_cast<int64_t>(found->ids.size())) {
      faults_["with other rows than trainable_token_indices"].push_back(module);
    } else {
      adapter.updates.emplace_back(HeldTensor{{module + ".weight", rows_ND}, found->ids});
    }
  }

  void add_update(const std::string& module, const Parts& parts, Adapter& adapter) {
    std::optional<LowRankUpdate> update = pair_of(module, parts);
    if (!update) {
      return;
    }
    if (update->kind == PairKind::kLinear && adapter.options.fan_in_fan_out) {
      update->kind = PairKind::kConv1D;
    }
    add_vector(parts, ParameterRole::kLowRankBias, *update, update->bias_O);
    add_vector(parts, ParameterRole::kMagnitude, *update, update->magnitude_O);
    update->alpha = pattern_value(adapter.options.alpha_pattern, module, adapter.options.lora_alpha, "alpha_pattern");
    update->scale = scale_of(update->alpha, update->rank(), adapter.options.use_rslora);
    const int64_t expected = pattern_value(adapter.options.rank_pattern, module, adapter.options.r, "rank_pattern");
    if (expected != update->rank()) {
      faults_["of another rank than in adapter_config.json (" + std::to_string(expected) + ")"].push_back(
          module + " (" + std::to_string(update->rank()) + ")");
    }
    adapter.updates.emplace_back(std::move(*update));
  }

  /// A and B of a module, or nothing after recording a fault.
  std::optional<LowRankUpdate> pair_of(const std::string& module, const Parts& parts) {
    const bool is_embedding = parts.count(ParameterRole::kEmbeddingA) + parts.count(ParameterRole::kEmbeddingB) > 0;
    const PairKind kind = is_embedding ? PairKind::kEmbedding : PairKind::kLinear;
    const auto a = parts.find(facts_of(kind).A), b = parts.find(facts_of(kind).B);
    if (a == parts.end() || b == parts.end()) {
      faults_["without the other half of the pair"].push_back(module);
      return std::nullopt;
    }
    if (!is_target_(module)) {
      faults_["outside of target_modules"].push_back(module);
      return std::nullopt;
    }
    LowRankUpdate update;
    update.module = module;
    update.kind = kind;
    if (!set_pair(update, {a->second.to(at::kFloat), b->second.to(at::kFloat)}) || (is_embedding && !update.kernel.empty())) {
      faults_["with A and B whose shapes do not match"].push_back(module + " " + io::shape_text(a->second.sizes()) + " and " +
                                                                  io::shape_text(b->second.sizes()));
      return std::nullopt;
    }
    return update;
  }

  /// The bias or magnitude of an update, if it has one.
  void add_vector(const Parts& parts, ParameterRole part, const LowRankUpdate& update, std::optional<Tensor>& into) {
    const auto found = parts.find(part);
    if (found == parts.end()) {
      return;
    }
    into = found->second.to(at::kFloat).flatten();
    if (into->numel() != update.B_OR.size(0)) {
      faults_["with a vector of a wrong length"].push_back(update.module + " " + io::shape_text(found->second.sizes()));
    }
  }

  void report() const {
    std::vector<std::string> lines;
    for (const auto& [what, names] : faults_) {
      lines.push_back(counted(static_cast<int64_t>(names.size()), "module") + " " + what + ": " + join(names, ", ", 2));
    }
    if (!lines.empty()) {
      model_error(folder_.weights_file().string(), "is not a usable LoRA adapter: found " + join(lines, "; "));
    }
    if (modules_.empty()) {
      model_error(folder_.weights_file().string(), "has no LoRA tensors: expected keys such as base_model.model.<module>.lora_A.weight");
    }
  }

  const AdapterFolder& folder_;
  std::function<bool(const std::string& module)> is_target_;
  std::map<std::string, Parts> modules_;
  std::map<std::string, std::vector<std::string>> faults_;
};

/// The part of the key for PEFT's wrapper of the module, if the tensor is one of the base.
std::string wrapper_of(const HeldTensor& held, const Adapter& adapter) {
  const auto is_adapted = [module = held.module()](const AdapterUpdate& update) {
    return std::holds_alternative<LowRankUpdate>(update) && module_of(update) == module;
  };
  const auto has_rows = [&held](const AdapterUpdate& update) {
    const auto* const other = std::get_if<HeldTensor>(&update);
    return other != nullptr && other->name == held.name && !other->rows.empty();
  };
  if (!held.of_base) {
    return "";
  }
  return std::any_of(adapter.updates.begin(), adapter.updates.end(), is_adapted) ? ".base_layer"
         : std::any_of(adapter.updates.begin(), adapter.updates.end(), has_rows) ? ".token_adapter.base_layer"
                                                                                 : "";
}

}  // namespace

void Adapter::set_low_rank(std::vector<LowRankUpdate> low_rank) {
  std::erase_if(updates, [](const AdapterUpdate& update) { return std::holds_alternative<LowRankUpdate>(update); });
  for (LowRankUpdate& update : low_rank) {
    updates.emplace_back(std::move(update));
  }
}

std::vector<AdapterUpdate> updates_of(const Adapter& adapter) {
  std::vector<AdapterUpdate> updates = adapter.updates;
  for (AdapterUpdate& update : updates) {
    if (auto* held = std::get_if<HeldTensor>(&update)) {
      held->wrapper = wrapper_of(*held, adapter);
    }
  }
  return updates;
}

Adapter read_lora(const AdapterFolder& folder, const LoraOptions& options) {
  Adapter adapter = without_updates(folder);
  adapter.options = options;
  AdapterReader(folder, options).read(adapter);
  return adapter;
}

void require_low_rank(const Adapter& adapter, const std::string& what) {
  const std::vector<FormulaUpdate> formulas = of_kind<FormulaUpdate>(adapter.updates);
  if (!formulas.empty()) {
    model_error(adapter.weights_file.string(), "cannot be " + what + ": found an adapter of " + method_name(formulas.front()) +
                                                   ", expected one of LoRA");
  }
}

void require_settled(const Adapter& adapter) {
  if (changes_base(adapter.options.init)) {
    model_error(adapter.weights_file.string(),
                "is an adapter of a base from which its initialization was subtracted: found init_lora_weights \"" +
                    std::string(kNamedInits.name(adapter.options.init)) +
                    "\", expected an adapter of the unchanged base. Save it with PEFT's path_initial_model_for_weight_conversion, or "
                    "merge it into its base.");
  }
}

void settle_start(Adapter& adapter, const std::function<Tensor(const std::string& module)>& weight_of) {
  if (!changes_base(adapter.options.init)) {
    return;
  }
  const at::NoGradGuard no_grad;
  std::vector<LowRankUpdate> updates = adapter.low_rank();
  for (LowRankUpdate& update : updates) {
    if (!update.is_embedding()) {
      const LowRankStart start = part_of_weight(adapter.options, weight_of(update.module), update.rank(), update.scale, update.module);
      update.A_RI = at::cat({update.A_RI, start.A_RI}, 0);
      update.B_OR = at::cat({update.B_OR, -start.B_OR}, 1);
      update.alpha *= adapter.options.use_rslora ? std::sqrt(2.0) : 2.0;  // the scale is unchanged
    }
  }
  adapter.set_low_rank(std::move(updates));
  adapter.options.init = LoraInit::kDefault;
}

void write_adapter(const fs::path& folder, const Adapter& adapter, const std::string& base_name) {
  const std::vector<io::NamedTensor> tensors = file_tensors(updates_of(adapter));
  require_finite(tensors);
  LoraOptions options = adapter.options;
  set_sizes(options, adapter.low_rank());
  options.init = LoraInit::kDefault;
  BaseReference reference(base_name, adapter.base_fingerprint);
  reference.quantization = adapter.base_quantization.text;
  reference.quantization_settings = adapter.base_quantization.settings;
  reference.corrects_quantization = adapter.base_quantization.is_corrected;
  reference.labels = adapter.labels;
  io::save_tensors(folder / kAdapterWeightsFile, tensors, reference.metadata());
  write_file_atomically(folder / kAdapterConfigFile, adapter_config_text(options, adapter_targets(adapter), base_name));
}

void set_inputs_first(Adapter& adapter, bool inputs_first) {
  for (AdapterUpdate& update : adapter.updates) {
    auto* const pair = std::get_if<LowRankUpdate>(&update);
    if (auto* const formula = std::get_if<FormulaUpdate>(&update)) {
      formula->is_turned = inputs_first && formula->module != "lm_head";
    }
    if (pair != nullptr && !pair->is_embedding() && !pair->is_convolution()) {
      pair->kind = inputs_first && pair->module != "lm_head" ? PairKind::kConv1D : PairKind::kLinear;
    }
  }
}

}  // namespace lora::peft
