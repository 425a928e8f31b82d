#include "peft/bottleneck_files.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <optional>

#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/text.h"
#include "lora/peft/adapter_folder.h"
#include "lora/peft/file_names.h"
#include "peft/adapter_config.h"

namespace lora::peft {

namespace fs = std::filesystem;

namespace {

/// The module that holds a place's adapters by name, and the one name that we write.
const char* const kAdapters = ".adapters.";
const char* const kName = "default";

/// What the library's forerunner called that module (WeightsLoader.legacy_weights_mapping).
constexpr std::array<const char*, 4> kFormerAdapters{".attention_text_task_adapters.", ".attention_text_lang_adapters.",
                                                     ".layer_text_task_adapters.", ".layer_text_lang_adapters."};

std::string with_current_name(std::string key) {
  for (const char* former : kFormerAdapters) {
    if (const size_t found = key.find(former); found != std::string::npos) {
      return key.replace(found, std::string(former).size(), kAdapters);
    }
  }
  return key;
}

/// The adapter's tensors under the names that we write.
StoredTensors without_name(const std::vector<io::NamedTensor>& tensors, const std::string& where) {
  StoredTensors stored;
  std::string known;
  for (const io::NamedTensor& tensor : tensors) {
    const std::string key = with_current_name(tensor.name);
    const size_t place = key.find(kAdapters);
    const size_t begin = place == std::string::npos ? place : place + std::string(kAdapters).size();
    const size_t part = place == std::string::npos ? place : key.find('.', begin);  // no name of a module contains a dot
    if (part == std::string::npos) {
      model_error(where, "has a tensor that belongs to no bottleneck: found '" + printable(tensor.name, 120) +
                             "', expected names such as model.layers.0.output_adapters.adapters.NAME.adapter_down.0.weight");
    }
    const std::string name = key.substr(begin, part - begin);
    if (!known.empty() && name != known) {
      model_error(where, "holds several adapters: found '" + printable(known, 60) + "' and '" + printable(name, 60) + "', expected one");
    }
    known = name;
    stored.emplace(bottleneck_key(key.substr(0, place), key.substr(part + 1)), tensor.tensor);
  }
  return stored;
}

std::optional<fs::path> first_of(const fs::path& folder, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (fs::exists(folder / name)) {
      return folder / name;
    }
  }
  return std::nullopt;
}

/// What every file of the library says of the model.
Json description(int64_t hidden_size, const BaseReference& base) {
  return {{"hidden_size", hidden_size},
          {"model_class", base.model_class},
          {"model_name", base.name},
          {"model_type", base.model_type},
          {"version", kBottleneckVersion}};
}

/// As json.dumps(indent=2, sort_keys=True) has it.
std::string sorted_text(const Json& json) {
  return nlohmann::json::parse(json.dump()).dump(2, ' ', /*ensure_ascii=*/true);
}

/// {"LABEL": 0} of {"0": "LABEL"}.
Json label_ids(const std::string& labels) {
  Json ids = Json::object();
  const Json known = labels.empty() ? Json::object() : Json::parse(labels);
  const auto names = known.find("id2label");
  if (names != known.end() && names->is_object()) {
    for (const auto& [id, label] : names->items()) {
      ids[label.get<std::string>()] = std::stoll(id);
    }
  }
  return ids;
}

Json residual_json(nn::BottleneckResidual residual) {
  return residual == nn::BottleneckResidual::kSum ? Json("post_add") : Json(residual == nn::BottleneckResidual::kBlock);
}

Json scaling_json(const BottleneckOptions& options) {
  if (options.scaling == BottleneckScaling::kFixed) {
    return options.form.scaling;  // the library demands a float: 4.0
  }
  return options.scaling == BottleneckScaling::kLearned ? "learned" : "channel";
}

Json reduction_json(const BottleneckOptions& options) {
  if (options.reduction_of_layers.empty()) {
    return number_json(options.reduction_factor);
  }
  Json factors = Json::object();
  for (const auto& [layer, factor] : options.reduction_of_layers) {
    factors[std::to_string(layer)] = number_json(factor);
  }
  if (options.has_default_reduction) {
    factors["default"] = number_json(options.reduction_factor);
  }
  return factors;
}

/// Every key of the library's BnConfig, those that are not supported with its defaults.
Json library_config(const BottleneckOptions& options) {
  return {{"mh_adapter", options.mh_adapter},
          {"output_adapter", options.output_adapter},
          {"reduction_factor", reduction_json(options)},
          {"non_linearity", nn::kBottleneckActivations.name(options.form.activation)},
          {"original_ln_before", options.form.original_ln_before},
          {"original_ln_after", options.form.original_ln_after},
          {"ln_before", options.ln_before},
          {"ln_after", options.ln_after},
          {"init_weights", kBottleneckInits.name(options.init)},
          {"init_weights_seed", options.init_weights_seed ? Json(*options.init_weights_seed) : Json(nullptr)},
          {"is_parallel", options.form.is_parallel},
          {"scaling", scaling_json(options)},
          {"use_gating", false},
          {"residual_before_ln", residual_json(options.form.residual)},
          {"adapter_residual_before_ln", options.form.adapter_residual_before_ln},
          {"inv_adapter", nullptr},
          {"inv_adapter_reduction_factor", nullptr},
          {"cross_adapter", false},
          {"leave_out", options.leave_out},
          {"dropout", options.form.dropout},
          {"phm_layer", false},
          {"phm_dim", 4},
          {"factorized_phm_W", true},
          {"shared_W_phm", false},
          {"shared_phm_rule", true},
          {"factorized_phm_rule", false},
          {"phm_c_init", "normal"},
          {"phm_init_range", 0.0001},
          {"learn_phm", true},
          {"hypercomplex_nonlinearity", "glorot-uniform"},
          {"phm_rank", 1},
          {"phm_bias", true},
          {"stochastic_depth", 0.0}};
}

void write_head(const fs::path& folder, int64_t hidden_size, const BaseReference& base, const std::vector<io::NamedTensor>& head) {
  const int64_t num_labels = head.back().tensor.size(0);
  Json ids = label_ids(base.labels);
  for (int64_t id = 0; ids.size() < static_cast<size_t>(num_labels); ++id) {
    ids["LABEL_" + std::to_string(id)] = id;
  }
  Json config = description(hidden_size, base);
  config.update({{"config", nullptr}, {"name", nullptr}, {"num_labels", num_labels}, {"label2id", ids}});
  io::save_tensors(folder / kHeadWeightsFile, head, base.metadata());
  write_file_atomically(folder / kHeadConfigFile, sorted_text(config));
}

}  // namespace

std::string bottleneck_key(const std::string& tap, const std::string& part) {
  return tap + kAdapters + kName + "." + part;
}

BottleneckFiles read_bottleneck_files(const fs::path& folder) {
  BottleneckFiles files;
  const std::optional<fs::path> adapter = first_of(folder, {kBottleneckWeightsFile, kBottleneckPickleFile});
  if (!adapter) {
    model_error(folder.string(), std::string("is no folder of the adapters library: expected ") + kBottleneckWeightsFile + " or " +
                                     kBottleneckPickleFile + " in it");
  }
  files.adapter = without_name(read_tensors(*adapter, files.metadata), adapter->string());
  if (const std::optional<fs::path> head = first_of(folder, {kHeadWeightsFile, kHeadPickleFile})) {
    std::map<std::string, std::string> ignored;
    for (const io::NamedTensor& tensor : read_tensors(*head, ignored)) {
      files.head.emplace(tensor.name, tensor.tensor);
    }
  }
  return files;
}

std::map<std::string, Tensor> stored_modules(const fs::path& folder) {
  if (first_of(folder, {kBottleneckWeightsFile, kBottleneckPickleFile})) {
    return read_bottleneck_files(folder).head;
  }
  std::map<std::string, Tensor> modules;
  const AdapterFolder stored(folder);
  for (const auto& [name, tensor] : stored.tensors()) {
    if (tensor.role == nn::ParameterRole::kWhole) {
      modules.emplace(name, tensor.tensor);
    }
  }
  return modules;
}

void write_bottleneck_files(const fs::path& folder, const BottleneckOptions& options, int64_t hidden_size, const BaseReference& base,
                            const std::vector<io::NamedTensor>& adapter, const std::vector<io::NamedTensor>& head) {
  require_finite(adapter);
  require_finite(head);
  Json config = description(hidden_size, base);
  config.update({{"config", library_config(options)}, {"name", kName}});
  io::save_tensors(folder / kBottleneckWeightsFile, adapter, base.metadata());
  if (!head.empty()) {
    write_head(folder, hidden_size, base, head);
  }
  write_file_atomically(folder / kAdapterConfigFile, sorted_text(config));
}

}  // namespace lora::peft
