#include "lora/peft/adapter.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "adapter_config.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/text.h"
#include "lora/io/tensor_facts.h"
#include "targets.h"
#include "tensor_file.h"
#include "update_forms.h"

namespace lora::peft {

namespace {

constexpr std::string_view kPrefix = "base_model.model.";
const char* const kWeightsFile = "adapter_model.safetensors";
constexpr std::string_view kTokenRows = ".token_adapter.trainable_tokens_delta";

/// The parts of a module's update, by the ends of PEFT's keys.
enum class Part { kA, kB, kBias, kMagnitude, kEmbeddingA, kEmbeddingB };
constexpr std::array<std::pair<std::string_view, Part>, 7> kParts{{{".lora_A.weight", Part::kA},
                                                                   {".lora_B.weight", Part::kB},
                                                                   {".lora_B.bias", Part::kBias},
                                                                   {".lora_magnitude_vector", Part::kMagnitude},
                                                                   {".lora_magnitude_vector.weight", Part::kMagnitude},
                                                                   {".lora_embedding_A", Part::kEmbeddingA},
                                                                   {".lora_embedding_B", Part::kEmbeddingB}}};

/// Whether the config says that the adapter holds this base tensor whole.
bool may_be_replaced(const std::string& name, const Json& config) {
  if (name.ends_with(".bias") && config.value("bias", Json("none")) != "none") {
    return true;
  }
  const std::string module = name.substr(0, name.rfind('.'));
  const auto names_module = [&module](const Json& list) {
    return list.is_array() && std::any_of(list.begin(), list.end(), [&module](const Json& entry) {
             return entry.is_string() &&
                    (module == entry.get_ref<const std::string&>() || module.ends_with("." + entry.get_ref<const std::string&>()));
           });
  };
  // As PEFT finds them: the name of the module, or of one that holds it, ends so ("norm" is also "input_layernorm").
  const Json& saved = config.value("modules_to_save", Json());
  const bool is_saved = saved.is_array() && std::any_of(saved.begin(), saved.end(), [&module](const Json& entry) {
                          return entry.is_string() && (module + ".").find(entry.get_ref<const std::string&>() + ".") != std::string::npos;
                        });
  return is_saved || names_module(config.value("target_modules", Json()));
}

/// Sorts the file's tensors into updates and replaced tensors, and collects what does not fit.
class Reader {
 public:
  explicit Reader(const fs::path& file) : file_(file), tensors_(file) {}

  void read(Adapter& adapter) {
    adapter.base_fingerprint = base_fingerprint(tensors_);
    adapter.labels = stored_label_set(tensors_);
    for (const std::string& key : tensors_.names()) {
      take(key, adapter);
    }
    for (auto& [module, parts] : modules_) {
      add_update(module, parts, adapter);
    }
    report();
  }

 private:
  using Parts = std::map<Part, Tensor>;

  void take(const std::string& key, Adapter& adapter) {
    const Tensor tensor = tensors_.tensor(key);
    if (!at::isfinite(tensor).all().item<bool>()) {
      faults_["with values that are not finite"].push_back(key);
    }
    if (!key.starts_with(kPrefix)) {
      faults_["not understood"].push_back(key);
      return;
    }
    std::string name = key.substr(kPrefix.size());
    for (const auto& [end, part] : kParts) {
      if (name.ends_with(end)) {
        modules_[name.substr(0, name.size() - end.size())].emplace(part, tensor);
        return;
      }
    }
    if (name.ends_with(kTokenRows)) {
      add_token_rows(key, name.substr(0, name.size() - kTokenRows.size()), tensor, adapter);
      return;
    }
    const size_t base_layer = name.rfind(".base_layer.");
    const bool is_of_target = base_layer != std::string::npos;
    if (is_of_target) {
      name.erase(base_layer, std::string_view(".base_layer").size());
    }
    if (is_of_target || may_be_replaced(name, adapter.config)) {
      adapter.replaced.push_back({{name, tensor}, {}});
    } else {
      faults_["not understood"].push_back(key);
    }
  }

  /// Which rows they are stands in adapter_config.json.
  void add_token_rows(const std::string& key, const std::string& module, const Tensor& rows_ND, Adapter& adapter) {
    const std::vector<TokenIndices>& all = adapter.options.trainable_token_indices;
    const auto found = std::find_if(all.begin(), all.end(), [&module](const TokenIndices& indices) {
      return indices.layer.empty() || module == indices.layer || module.ends_with("." + indices.layer);
    });
    if (found == all.end() || rows_ND.dim() != 2 || rows_ND.size(0) != static_cast<int64_t>(found->ids.size())) {
      faults_["that do not fit trainable_token_indices"].push_back(key);
    } else {
      adapter.replaced.push_back({{module + ".weight", rows_ND}, found->ids});
    }
  }

  void add_update(const std::string& module, const Parts& parts, Adapter& adapter) {
    const bool is_embedding = parts.count(Part::kEmbeddingA) + parts.count(Part::kEmbeddingB) > 0;
    const auto a = parts.find(is_embedding ? Part::kEmbeddingA : Part::kA);
    const auto b = parts.find(is_embedding ? Part::kEmbeddingB : Part::kB);
    if (a == parts.end() || b == parts.end()) {
      faults_["without the other half of the pair"].push_back(module);
      return;
    }
    LowRankUpdate update;
    update.module = module;
    update.A_RI = a->second.to(at::kFloat);
    update.B_OR = b->second.to(at::kFloat);
    update.is_embedding = is_embedding;
    update.inputs_first = !is_embedding && adapter.options.fan_in_fan_out;
    if (update.A_RI.dim() != 2 || update.B_OR.dim() != 2 || update.A_RI.size(0) != update.B_OR.size(1) || update.rank() == 0) {
      faults_["whose A and B do not fit"].push_back(module + " " + io::shape_text(a->second.sizes()) + " and " +
                                                    io::shape_text(b->second.sizes()));
      return;
    }
    const auto vector = [&](Part part, std::optional<Tensor>& into) {
      const auto found = parts.find(part);
      if (found == parts.end()) {
        return;
      }
      into = found->second.to(at::kFloat).flatten();
      if (into->numel() != update.B_OR.size(0)) {
        faults_["whose vectors do not fit"].push_back(module + " " + io::shape_text(found->second.sizes()));
      }
    };
    vector(Part::kBias, update.bias_O);
    vector(Part::kMagnitude, update.magnitude_O);
    update.alpha = pattern_value(adapter.options.alpha_pattern, module, adapter.options.lora_alpha, "alpha_pattern");
    update.scale = scale_of(update.alpha, update.rank(), adapter.options.use_rslora);
    const int64_t expected = pattern_value(adapter.options.rank_pattern, module, adapter.options.r, "rank_pattern");
    if (expected != update.rank()) {
      faults_["of another rank than adapter_config.json says (" + std::to_string(expected) + ")"].push_back(
          module + " (" + std::to_string(update.rank()) + ")");
    }
    adapter.updates.push_back(std::move(update));
  }

  void report() const {
    std::vector<std::string> lines;
    for (const auto& [what, names] : faults_) {
      lines.push_back(std::to_string(names.size()) + " " + what + ": " + join(names, ", ", 6));
    }
    if (!lines.empty()) {
      model_error(file_.string(), "is no LoRA adapter that can be used: " + join(lines, "; "));
    }
    if (modules_.empty()) {
      model_error(file_.string(), "holds no LoRA tensors: expected keys such as base_model.model.<module>.lora_A.weight");
    }
  }

  fs::path file_;
  io::SafetensorsFile tensors_;
  std::map<std::string, Parts> modules_;
  std::map<std::string, std::vector<std::string>> faults_;
};

template <typename T, typename Value>
void set_with_pattern(const std::vector<LowRankUpdate>& updates, const Value& value, T& usual,
                      std::vector<std::pair<std::string, T>>& pattern) {
  usual = commonest<T>(updates, value, T(1));
  pattern.clear();
  for (const LowRankUpdate& update : updates) {
    if (value(update) != usual) {
      pattern.emplace_back(update.module, value(update));
    }
  }
}

std::vector<io::NamedTensor> file_tensors(const Adapter& adapter) {
  std::vector<io::NamedTensor> tensors;
  const std::string prefix(kPrefix);
  for (const LowRankUpdate& update : adapter.updates) {
    const std::string module = prefix + update.module;
    tensors.push_back({module + (update.is_embedding ? ".lora_embedding_A" : ".lora_A.weight"), update.A_RI});
    tensors.push_back({module + (update.is_embedding ? ".lora_embedding_B" : ".lora_B.weight"), update.B_OR});
    if (update.bias_O) {
      tensors.push_back({module + ".lora_B.bias", *update.bias_O});
    }
    if (update.magnitude_O) {
      tensors.push_back({module + ".lora_magnitude_vector", *update.magnitude_O});
    }
  }
  for (const HeldTensor& held : adapter.replaced) {
    const std::string module = held.name.substr(0, held.name.rfind('.'));
    tensors.push_back({prefix + (held.rows.empty() ? held.name : module + std::string(kTokenRows)), held.tensor});
  }
  return tensors;
}

/// Which modules the adapter has, where its options do not say.
ModuleChoice targets_of(const Adapter& adapter) {
  if (adapter.options.target_modules.kind != ModuleChoice::Kind::kNone) {
    return adapter.options.target_modules;
  }
  ModuleChoice choice{ModuleChoice::Kind::kList, {}, ""};
  for (const LowRankUpdate& update : adapter.updates) {
    choice.names.push_back(update.module);
  }
  return choice;
}

}  // namespace

double scale_of(double alpha, int64_t rank, bool use_rslora) {
  return alpha / (use_rslora ? std::sqrt(static_cast<double>(rank)) : static_cast<double>(rank));
}

Adapter read_adapter(const fs::path& folder, const LoraOptions& options) {
  Adapter adapter;
  adapter.options = options;
  adapter.config = read_json(folder / "adapter_config.json", ErrorKind::kModel);
  adapter.weights_file = folder / kWeightsFile;
  require_weights_file(folder);
  Reader(adapter.weights_file).read(adapter);
  return adapter;
}

void write_adapter(const fs::path& folder, const Adapter& adapter, const std::string& base_name) {
  const std::vector<io::NamedTensor> tensors = file_tensors(adapter);
  require_finite(tensors);
  LoraOptions options = adapter.options;
  set_with_pattern<int64_t>(
      adapter.updates, [](const LowRankUpdate& update) { return update.rank(); }, options.r, options.rank_pattern);
  set_with_pattern<double>(
      adapter.updates, [](const LowRankUpdate& update) { return update.alpha; }, options.lora_alpha, options.alpha_pattern);
  options.init = LoraInit::kDefault;
  BaseReference reference(base_name, adapter.base_fingerprint);
  reference.labels = adapter.labels;
  io::save_tensors(folder / kWeightsFile, tensors, reference.metadata());
  write_file_atomically(folder / "adapter_config.json", adapter_config_text(options, targets_of(adapter), base_name));
}

void set_inputs_first(Adapter& adapter, bool inputs_first) {
  for (LowRankUpdate& update : adapter.updates) {
    update.inputs_first = inputs_first && !update.is_embedding && update.module != "lm_head";
  }
}

Tensor delta(const LowRankUpdate& update) {
  const Tensor delta_OI = at::mm(update.B_OR, update.A_RI) * update.scale;
  return update.is_turned() ? delta_OI.t() : delta_OI;
}

Tensor merged(const LowRankUpdate& update, const Tensor& weight) {
  const at::NoGradGuard no_grad;
  const Tensor change = delta(update);
  if (weight.sizes() != change.sizes()) {
    model_error(update.module, "the adapter does not fit the base: found a weight of shape " + io::shape_text(weight.sizes()) +
                                   ", expected " + io::shape_text(change.sizes()));
  }
  const at::ScalarType wide = at::promote_types(weight.scalar_type(), at::kFloat);
  Tensor result = weight.to(wide) + change;
  if (update.magnitude_O) {
    const int64_t inputs = update.is_turned() ? 0 : 1;
    const Tensor factor_O = *update.magnitude_O / at::linalg_vector_norm(result, 2, {inputs});
    result = result * factor_O.unsqueeze(inputs);
  }
  return result.to(weight.scalar_type());
}

}  // namespace lora::peft
