#include "peft/adapter_config.h"

#include "peft/update_forms.h"

namespace lora::peft {

namespace {

/// true for most initializations: it no longer matters for a trained adapter, and not every PEFT version knows every one.
nlohmann::json init_json(LoraInit init) {
  switch (init) {
    case LoraInit::kGaussian:
      return "gaussian";
    case LoraInit::kRandom:
      return false;
    default:
      return true;
  }
}

nlohmann::json names_json(const std::vector<std::string>& names) {
  return names.empty() ? nlohmann::json() : nlohmann::json(names);
}

/// In the form that was given: a list for the input embeddings, or an object.
nlohmann::json token_indices_json(const std::vector<TokenIndices>& indices) {
  nlohmann::json by_layer = nlohmann::json::object();
  for (const TokenIndices& layer : indices) {
    if (layer.layer.empty()) {
      return layer.ids;
    }
    by_layer[layer.layer] = layer.ids;
  }
  return by_layer;
}

/// In the given order, because the first match counts, in PEFT too.
template <typename T>
Json pattern_json(const std::vector<std::pair<std::string, T>>& pattern) {
  Json object = Json::object();
  for (const auto& [key, value] : pattern) {
    object.emplace(key, number_json(static_cast<double>(value)));
  }
  return object;
}

/// `sorted` with its keys in alphabetical order, and the patterns in their own order.
Json in_order(const nlohmann::json& sorted, const LoraOptions& options) {
  Json ordered = Json::object();
  for (const auto& [key, value] : sorted.items()) {
    ordered[key] = Json::parse(value.dump());
  }
  ordered["rank_pattern"] = pattern_json(options.rank_pattern);
  ordered["alpha_pattern"] = pattern_json(options.alpha_pattern);
  return ordered;
}

/// Keys that are written only if they are used.
void add_used_keys(const LoraOptions& options, nlohmann::json& config) {
  if (options.lora_bias) {
    config["lora_bias"] = true;
  }
  if (options.ensure_weight_tying) {
    config["ensure_weight_tying"] = true;
  }
  if (!options.trainable_token_indices.empty()) {
    config["trainable_token_indices"] = token_indices_json(options.trainable_token_indices);
  }
  if (options.layers_to_transform) {
    config["layers_to_transform"] = *options.layers_to_transform;
  }
  if (!options.layers_pattern.empty()) {
    config["layers_pattern"] = options.layers_pattern;
  }
}

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

}  // namespace

nlohmann::json choice_json(const ModuleChoice& choice) {
  switch (choice.kind) {
    case ModuleChoice::Kind::kList:
      return choice.names;
    case ModuleChoice::Kind::kRegex:
      return choice.regex;
    case ModuleChoice::Kind::kAllLinear:
      return "all-linear";
    case ModuleChoice::Kind::kNone:
      break;
  }
  return nullptr;
}

nlohmann::json number_json(double value) {
  const auto whole = static_cast<int64_t>(value);
  return static_cast<double>(whole) == value ? nlohmann::json(whole) : nlohmann::json(value);
}

nlohmann::json shared_config(const AdapterOptions& options, const char* peft_type, const std::string& base_name) {
  nlohmann::json config{{"task_type", "CAUSAL_LM"}, {"auto_mapping", nullptr}, {"revision", nullptr}};
  for (const auto& [key, value] : options.config.items()) {
    if (!value.is_null()) {
      config[key] = nlohmann::json::parse(value.dump());
    }
  }
  if (!options.has_task) {
    config["task_type"] = nullptr;
  }
  config["peft_type"] = peft_type;
  config["base_model_name_or_path"] = base_name;  // a pasted config may name another base
  config["inference_mode"] = true;
  config["modules_to_save"] = names_json(options.modules_to_save);
  return config;
}

std::string targeted_config_text(nlohmann::json config, const ModuleChoice& targets) {
  config["target_modules"] = choice_json(targets);
  return config.dump(2, ' ', /*ensure_ascii=*/true) + "\n";
}

std::string adapter_config_text(const LoraOptions& options, const ModuleChoice& targets, const std::string& base_name) {
  nlohmann::json config = shared_config(options, kLora, base_name);
  for (const char* const of_start : {"eva_config", "corda_config", "lora_ga_config"}) {
    config.erase(of_start);
  }
  if (config.contains("loftq_config")) {
    config["loftq_config"] = nlohmann::json::object();  // PEFT would start again by it
  }
  config.emplace("layers_to_transform", nullptr);
  config.emplace("layers_pattern", nullptr);
  config["r"] = options.r;
  config["lora_alpha"] = number_json(options.lora_alpha);
  config["lora_dropout"] = number_json(options.lora_dropout);
  config["target_modules"] = choice_json(targets);
  config["exclude_modules"] = choice_json(options.exclude_modules);
  config["rank_pattern"] = nullptr;  // both are added in their own order by in_order()
  config["alpha_pattern"] = nullptr;
  config["bias"] = kTrainedBiases.name(options.bias);
  config["fan_in_fan_out"] = options.fan_in_fan_out;
  config["use_rslora"] = options.use_rslora;
  config["use_dora"] = options.use_dora;
  config["init_lora_weights"] = init_json(options.init);
  add_used_keys(options, config);
  return in_order(config, options).dump(2, ' ', /*ensure_ascii=*/true) + "\n";
}

void set_sizes(LoraOptions& options, const std::vector<LowRankUpdate>& updates) {
  set_with_pattern<int64_t>(
      updates, [](const LowRankUpdate& update) { return update.rank(); }, options.r, options.rank_pattern);
  set_with_pattern<double>(
      updates, [](const LowRankUpdate& update) { return update.alpha; }, options.lora_alpha, options.alpha_pattern);
}

ModuleChoice adapter_targets(const Adapter& adapter) {
  if (adapter.options.target_modules.kind != ModuleChoice::Kind::kNone) {
    return adapter.options.target_modules;
  }
  ModuleChoice choice{ModuleChoice::Kind::kList, {}, ""};
  for (const LowRankUpdate& update : adapter.low_rank()) {
    choice.names.push_back(update.module);
  }
  return choice;
}

}  // namespace lora::peft
