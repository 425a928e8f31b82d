#include "config/lora_section.h"

#include "config/lora_table.h"
#include "config/old_names.h"
#include "config/stored_adapter.h"
#include "lora/base/file.h"
#include "lora/peft/file_names.h"

namespace lora::config {

namespace {

using peft::LoraInit;
using peft::LoraOptions;

/// Initialisations that subtract a part from the base weight: their values mean nothing without that change.
bool changes_base(const Json& init) {
  return init.is_string() && (init.get_ref<const std::string&>().starts_with("pissa") || init == "olora");
}

void check_start(const LoraOptions& options, const Json& section, const ConfigPlace& at) {
  if (peft::changes_base(options.init) && options.use_rslora && !(options.rank_pattern.empty() && options.alpha_pattern.empty())) {
    at.key("init_lora_weights")
        .add(
            "cannot be combined with use_rslora and a rank_pattern or alpha_pattern, as in PEFT: the result is written for the unchanged "
            "base with twice the rank, where one lora_alpha cannot keep all scales. Remove one of them.");
  }
  const auto eva = section.find("eva_config");
  if (options.init != LoraInit::kEva && eva != section.end() && !eva->is_null()) {
    at.key("eva_config").add("needs init_lora_weights \"eva\": found " + shown(section.value("init_lora_weights", Json(true))));
  }
  const auto loftq = section.find("loftq_config");
  if (options.init != LoraInit::kLoftq && loftq != section.end() && loftq->is_object() && !loftq->empty()) {
    at.key("loftq_config").add("needs init_lora_weights \"loftq\": found " + shown(section.value("init_lora_weights", Json(true))));
  }
}

/// PEFT's own rules (LoraConfig.__post_init__).
void check_lora_bias(const LoraOptions& options, const Json& section, const ConfigPlace& at) {
  if (!options.lora_bias) {
    return;
  }
  if (options.use_dora) {
    at.key("lora_bias").add("cannot be used with use_dora, as in PEFT: remove one of the two");
  }
  if (options.init != LoraInit::kDefault && options.init != LoraInit::kRandom) {
    at.key("lora_bias")
        .add("needs init_lora_weights true or false, as in PEFT: found " + shown(section.value("init_lora_weights", Json(true))));
  }
}

/// The adapter of init_from is initialised already; another initialisation would misread its values.
void check_inherited_start(const Json& start, const Json& section, const ConfigPlace& at) {
  const Json theirs = start.value("init_lora_weights", Json(true));
  const Json ours = section.value("init_lora_weights", theirs);
  if (ours != theirs && (changes_base(ours) || changes_base(theirs))) {
    at.key("init_lora_weights")
        .add("found " + shown(ours) + ", but the adapter of init_from has " + shown(theirs) +
             ": remove this key to continue from that adapter");
  } else if (theirs.is_string() && theirs.get_ref<const std::string&>().starts_with("pissa_niter_")) {
    at.key("init_from")
        .add("found an adapter initialised by " + shown(theirs) +
             ", whose base cannot be restored because the initialisation was random. Save it with PEFT's "
             "path_initial_model_for_weight_conversion.");
  }
}

/// What a section inherits from the adapter of init_from for the keys that it does not have.
struct Inherited {
  LoraOptions options;
  Json keys = Json::object();
};

Json keys_to_inherit(const Json& start, const Json& section, const ConfigPlace& file) {
  Json kept = stored_keys(start, lora_table().keys(), AdapterUse::kTrain, file);
  for (const auto& [key, value] : section.items()) {
    kept.erase(key);
  }
  return kept;
}

Inherited read_inherited(const std::filesystem::path& folder, const Json& section, const ConfigPlace& at) {
  Inherited result;
  const Json start = read_stored_config(folder, at.key("init_from"));
  const ConfigPlace file{(folder / peft::kAdapterConfigFile).string() + ":", at.findings};
  if (start.is_null() || !has_peft_type(start, {peft::kLora}, file)) {
    return result;
  }
  if (section.contains("r") && start.contains("r") && section["r"] != start["r"]) {
    at.key("r").add("found " + shown(section["r"]) + ", but the adapter of init_from has " + shown(start["r"]) +
                    ": remove this key to continue from that adapter");
  }
  check_inherited_start(start, section, at);
  result.keys = keys_to_inherit(start, section, file);
  lora_table().read(result.keys, result.options, file);
  restate_old_names(start, folder, result.options, file);
  return result;
}

LoraOptions read_options(const Json& section, const ConfigPlace& at, const Context& context) {
  Inherited inherited;
  const auto init_from = section.find("init_from");
  const bool continues = init_from != section.end() && init_from->is_string() && !init_from->get_ref<const std::string&>().empty();
  const auto start = continues ? absolute_path(context, init_from->get<std::string>()) : std::filesystem::path();
  if (continues) {
    inherited = read_inherited(start, section, at);
  }
  LoraOptions options = std::move(inherited.options);
  lora_table().read(section, options, at);
  if (continues) {
    options.init_from = start;
  }
  options.config = std::move(inherited.keys);
  options.config.update(section);
  options.config.erase("init_from");
  check_layers(options, at);
  check_start(options, section, at);
  check_lora_bias(options, options.config, at);
  return options;
}

}  // namespace

AdapterSection read_lora_section(const Json& section, const ConfigPlace& at, const Context& context) {
  const LoraOptions options = read_options(section, at, context);
  AdapterSection result{options, lora_table().resolved(options, options.config)};
  result.resolved["init_from"] = to_json(options.init_from);
  return result;
}

Json lora_schema() {
  return lora_table().schema();
}

peft::MethodOptions read_stored_lora(const Json& config, const std::filesystem::path& folder, const ConfigPlace& file) {
  LoraOptions options;
  options.config = stored_keys(config, lora_table().keys(), AdapterUse::kCompute, file);
  lora_table().read(options.config, options, file);
  restate_old_names(config, folder, options, file);
  check_layers(options, file);
  if (options.pissa_niter > 0) {
    file.key("init_lora_weights")
        .add("found " + shown(options.config["init_lora_weights"]) +
             ", whose base cannot be restored because the initialisation was random. Save the adapter with PEFT's "
             "path_initial_model_for_weight_conversion.");
  }
  options.init_from = folder;
  return options;
}

}  // namespace lora::config
