// Adapters of a pipeline as diffusers has them: one file, usually pytorch_lora_weights.safetensors. Its keys are PEFT's, after the name of
// the component; the options of each component's adapter are JSON in the metadata. Files of older versions have other names for the two
// matrices, and no metadata: alpha is the rank then.
#include <ATen/ATen.h>

#include <algorithm>
#include <array>

#include "lora/base/error.h"
#include "lora/peft/pipeline_adapter.h"
#include "peft/adapter_config.h"
#include "peft/format_entry.h"
#include "peft/pair_parts.h"
#include "peft/targets.h"
#include "peft/update_forms.h"

namespace lora::peft {

namespace {

constexpr const char* kMetadataKey = "lora_adapter_metadata";

/// The ends of keys, of every version of diffusers.
struct KeyEnd {
  std::string_view text;
  PairPart part;
};
constexpr std::array<KeyEnd, 12> kKeyEnds{{{".lora_A.weight", PairPart::kDown},
                                           {".lora_B.weight", PairPart::kUp},
                                           {".lora_B.bias", PairPart::kBias},
                                           {".lora_magnitude_vector", PairPart::kMagnitude},
                                           {".lora_magnitude_vector.weight", PairPart::kMagnitude},
                                           {".lora.down.weight", PairPart::kDown},
                                           {".lora.up.weight", PairPart::kUp},
                                           {".lora_linear_layer.down.weight", PairPart::kDown},
                                           {".lora_linear_layer.up.weight", PairPart::kUp},
                                           {"_lora.down.weight", PairPart::kDown},  // of attention processors, before 0.22
                                           {"_lora.up.weight", PairPart::kUp},
                                           {".alpha", PairPart::kAlpha}}};

/// Names of attention processors and what the modules are called in a UNet and in a text encoder.
struct ProcessorName {
  std::string_view old, in_unet, in_text_encoder;
};
constexpr std::array<ProcessorName, 4> kProcessorNames{
    {{".to_q", ".to_q", ".q_proj"}, {".to_k", ".to_k", ".k_proj"}, {".to_v", ".to_v", ".v_proj"}, {".to_out", ".to_out.0", ".out_proj"}}};
constexpr std::string_view kProcessor = ".processor";

/// The module's name today.
std::string settled_name(std::string module, bool is_text) {
  if (const size_t at = module.find(kProcessor); at != std::string::npos) {
    module.erase(at, kProcessor.size());
  }
  for (const ProcessorName& name : kProcessorNames) {
    if (module.ends_with(name.old)) {
      return module.substr(0, module.size() - name.old.size()) + std::string(is_text ? name.in_text_encoder : name.in_unet);
    }
  }
  return module;
}

/// Names without a component are those of a UNet, as diffusers' first versions saved it alone.
ParsedKey parse_diffusers_key(const std::string& key) {
  for (const KeyEnd& end : kKeyEnds) {
    if (!key.ends_with(end.text)) {
      continue;
    }
    const std::string module = key.substr(0, key.size() - end.text.size());
    const std::string component = component_of(module);
    if (!component.empty()) {
      const std::string inner = settled_name(module.substr(component.size() + 1), component.starts_with("text_encoder"));
      return {pipeline_name(component, inner), end.part};
    }
    if (is_unet_module(module)) {
      return {"unet." + settled_name(module, /*is_text=*/false), end.part};
    }
  }
  return {};
}

/// The entries of a component in the metadata, where each key begins with its name.
Json component_config(const Json& metadata, const std::string& component) {
  Json config = Json::object();
  for (const auto& [key, value] : metadata.items()) {
    if (component_of(key) == component) {
      config[key.substr(component.size() + 1)] = value;
    }
  }
  return config;
}

template <typename T>
std::vector<std::pair<std::string, T>> pattern_in(const JsonReader& config, const char* key) {
  std::vector<std::pair<std::string, T>> pattern;
  if (!config.has(key)) {
    return pattern;
  }
  const JsonReader entries = config.object(key);
  for (const auto& [module, value] : config.at(key).items()) {
    pattern.emplace_back(module, static_cast<T>(entries.number(module)));
  }
  return pattern;
}

/// The options in the metadata that change what the adapter computes.
LoraOptions options_in(const Json& json, const std::string& where) {
  const JsonReader config(json, where, ErrorKind::kModel);
  LoraOptions options;
  options.r = config.integer("r", options.r);
  options.lora_alpha = config.number("lora_alpha", options.lora_alpha);
  options.lora_dropout = config.number("lora_dropout", 0);
  options.use_rslora = config.boolean("use_rslora", false);
  options.use_dora = config.boolean("use_dora", false);
  options.rank_pattern = pattern_in<int64_t>(config, "rank_pattern");
  options.alpha_pattern = pattern_in<double>(config, "alpha_pattern");
  const Json start = json.value("init_lora_weights", Json(true));
  const std::string name = start.is_string() ? start.get<std::string>() : "";
  if (name.starts_with("pissa") || name.starts_with("olora") || name.starts_with("corda") || name == "loftq") {
    model_error(where + ": init_lora_weights",
                "found \"" + name + "\": the base of this adapter was changed by its initialization, so that it fits no other base");
  }
  return options;
}

/// Gives the updates of a component the scale that the metadata says.
void apply_options(const LoraOptions& options, const std::string& where, std::vector<AdapterUpdate>& updates) {
  for (AdapterUpdate& update : updates) {
    auto& pair = std::get<LowRankUpdate>(update);
    const int64_t rank = pattern_value(options.rank_pattern, pair.module, options.r, "rank_pattern");
    if (rank != pair.rank()) {
      model_error(where, "has another rank for '" + pair.module + "' than its tensors: found " + std::to_string(rank) + ", expected " +
                             std::to_string(pair.rank()));
    }
    pair.alpha = pattern_value(options.alpha_pattern, pair.module, options.lora_alpha, "alpha_pattern");
    pair.scale = scale_of(pair.alpha, rank, options.use_rslora);
  }
}

Json stored_metadata(const fs::path& path) {
  const std::map<std::string, std::string> metadata = io::SafetensorsFile(path).metadata();
  const auto found = metadata.find(kMetadataKey);
  if (found == metadata.end()) {
    return Json::object();
  }
  const std::string where = path.string() + ": " + kMetadataKey;
  Json json = parse_json(found->second, where, ErrorKind::kModel);
  if (!json.is_object()) {
    model_error(where, "found " + type_name(json) + ", expected an object");
  }
  return json;
}

/// The keys of adapter_config.json that diffusers' metadata may have: an older PEFT refuses every other one.
constexpr std::array<const char*, 12> kAllowedKeys{"r",        "lora_alpha", "rank_pattern", "alpha_pattern",     "target_modules",
                                                   "use_dora", "lora_bias",  "use_rslora",   "init_lora_weights", "lora_dropout",
                                                   "bias",     "peft_type"};

/// A component's options. Modules are named without `text_model.`, which matches models with and without it.
void add_metadata(const ComponentAdapter& part, nlohmann::json& metadata) {
  Adapter adapter = part.adapter;
  rename_modules(adapter, target_of);
  LoraOptions options = adapter.options;
  options.init = LoraInit::kDefault;
  options.bias = TrainedBias::kNone;
  set_sizes(options, adapter.low_rank());
  const nlohmann::json config = nlohmann::json::parse(adapter_config_text(options, adapter_targets(adapter), ""));
  for (const char* key : kAllowedKeys) {
    metadata[part.component + "." + key] = config.value(key, nlohmann::json(false));  // lora_bias is written only if it is true
  }
}

}  // namespace

bool is_diffusers(const fs::path& file) {
  return has_known_key(file, parse_diffusers_key);
}

Adapter read_diffusers(const fs::path& path, const BaseFacts&) {
  const Json metadata = stored_metadata(path);
  std::map<std::string, ComponentAdapter> parts;
  for (const auto& [module, tensors] :
       read_parts(path, parse_diffusers_key, "names such as unet.<module>.lora_A.weight or text_encoder.<module>.lora_B.weight")) {
    const std::string component = component_of(module);
    const std::string inner = module.substr(component.size() + 1);
    ComponentAdapter& part = parts.try_emplace(component, ComponentAdapter{component, {}}).first->second;
    part.adapter.updates.emplace_back(update_of_parts(inner, tensors, path.string() + ": module '" + module + "'"));
  }
  if (parts.empty()) {
    model_error(path.string(), "has no tensors: expected names such as unet.<module>.lora_A.weight");
  }
  std::vector<ComponentAdapter> all;
  for (auto& [component, part] : parts) {
    part.adapter.weights_file = path;
    part.adapter.config = component_config(metadata, component);
    if (!part.adapter.config.empty()) {
      const std::string where = path.string() + ": " + kMetadataKey + "." + component;
      part.adapter.options = options_in(part.adapter.config, where);
      apply_options(part.adapter.options, where, part.adapter.updates);
    }
    all.push_back(std::move(part));
  }
  Adapter adapter = joined(std::move(all));
  adapter.config = metadata;
  return adapter;
}

void write_diffusers(const fs::path& file, const Adapter& adapter, const BaseFacts&, const WriteOptions& options) {
  nlohmann::json metadata = nlohmann::json::object();
  for (const ComponentAdapter& part : divided(adapter)) {
    add_metadata(part, metadata);
  }
  std::vector<io::NamedTensor> tensors;
  for (const LowRankUpdate& update : rounded(adapter.low_rank(), options.dtype)) {
    for (const AdapterTensor& tensor : tensors_of(update)) {
      tensors.push_back({tensor.name, tensor.tensor});
    }
  }
  io::save_tensors(file, tensors, {{"format", "pt"}, {kMetadataKey, metadata.dump(2)}});
}

}  // namespace lora::peft
