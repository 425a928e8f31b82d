#include "config/lora_section.h"

#include <optional>
#include <string>

#include "config/lora_table.h"
#include "config/method_keys.h"
#include "config/old_names.h"

namespace lora::config {

namespace {

using peft::LoraInit;
using peft::LoraOptions;

constexpr const char* kPissaNiter = "pissa_niter_";
constexpr const char* kConvert = "Save the adapter with PEFT's path_initial_model_for_weight_conversion.";

std::optional<LoraInit> named_init(const Json& init) {
  if (!init.is_string()) {
    return std::nullopt;
  }
  const auto& name = init.get_ref<const std::string&>();
  return name.starts_with(kPissaNiter) ? LoraInit::kPissa : peft::kNamedInits.find(name);
}

/// Initialisations that subtract a part from the base weight: their values mean nothing without that change.
bool changes_base(const Json& init) {
  const std::optional<LoraInit> named = named_init(init);
  return named && peft::changes_base(*named);
}

/// Why what an initialisation of a stored adapter subtracted from the base cannot be computed again; "": it can.
std::string why_unrepeatable(const Json& init) {
  if (!changes_base(init)) {
    return "";
  }
  if (peft::starts_from_data(*named_init(init))) {
    return "whose base cannot be restored because the initialisation was computed from training data";
  }
  const bool is_random = init.get_ref<const std::string&>().starts_with(kPissaNiter);
  return is_random ? "whose base cannot be restored because the initialisation was random" : "";
}

/// Keys about one initialisation exclude the others.
void check_config_of_start(const std::string& key, LoraInit init, const LoraOptions& options, const Json& section, const ConfigPlace& at) {
  const auto config = section.find(key);
  const bool is_given = config != section.end() && config->is_object() && !(init == LoraInit::kLoftq && config->empty());
  if (options.init != init && is_given) {
    at.key(key).add("needs init_lora_weights \"" + std::string(peft::kNamedInits.name(init)) + "\": found " +
                    shown(section.value("init_lora_weights", Json(true))));
  }
}

void check_start(const LoraOptions& options, const Json& section, const ConfigPlace& at) {
  if (peft::changes_base(options.init) && options.use_rslora && !(options.rank_pattern.empty() && options.alpha_pattern.empty())) {
    at.key("init_lora_weights")
        .add(
            "cannot be combined with use_rslora and a rank_pattern or alpha_pattern, as in PEFT: the result is written for the unchanged "
            "base with twice the rank, where one lora_alpha cannot keep all scales. Remove one of them.");
  }
  check_config_of_start("eva_config", LoraInit::kEva, options, section, at);
  check_config_of_start("loftq_config", LoraInit::kLoftq, options, section, at);
  check_config_of_start("corda_config", LoraInit::kCorda, options, section, at);
  check_config_of_start("lora_ga_config", LoraInit::kLoraGa, options, section, at);
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

void check_lora(const LoraOptions& options, const Json& section, const ConfigPlace& at) {
  check_layers(options, at);
  check_start(options, section, at);
  check_lora_bias(options, options.config, at);
}

/// The adapter of init_from has its shapes and is initialised already; another rank would not fit its values, and another initialisation
/// would misread them.
void check_continued(const Json& start, const Json& section, const ConfigPlace& at) {
  if (section.contains("r") && start.contains("r") && section["r"] != start["r"]) {
    at.key("r").add("found " + shown(section["r"]) + ", but the adapter of init_from has " + shown(start["r"]) +
                    ": remove this key to continue from that adapter");
  }
  const Json theirs = start.value("init_lora_weights", Json(true));
  const Json ours = section.value("init_lora_weights", theirs);
  if (ours != theirs && (changes_base(ours) || changes_base(theirs))) {
    at.key("init_lora_weights")
        .add("found " + shown(ours) + ", but the adapter of init_from has " + shown(theirs) +
             ": remove this key to continue from that adapter");
  } else if (const std::string why = why_unrepeatable(theirs); !why.empty()) {
    at.key("init_from").add("found an adapter initialised by " + shown(theirs) + ", " + why + ". " + kConvert);
  }
}

void settle_lora(const Json& config, const std::filesystem::path& folder, AdapterUse use, LoraOptions& options, const ConfigPlace& file) {
  restate_old_names(config, folder, options, file);
  if (use == AdapterUse::kTrain) {
    return;  // check_lora() sees these options together with the section's
  }
  check_layers(options, file);
  const Json init = options.config.value("init_lora_weights", Json(true));
  if (const std::string why = why_unrepeatable(init); !why.empty()) {
    file.key("init_lora_weights").add("found " + shown(init) + ", " + why + ". " + kConvert);
  }
}

MethodKeys<LoraOptions> lora_keys() {
  return {peft::kLora, lora_table(), check_lora, check_continued, settle_lora};
}

}  // namespace

AdapterSection read_lora_section(const Json& section, const ConfigPlace& at, const Context& context) {
  auto [options, resolved] = read_section(lora_keys(), section, at, context);
  return {std::move(options), std::move(resolved)};
}

Json lora_schema() {
  return lora_table().schema();
}

peft::MethodOptions read_stored_lora(const Json& config, const std::filesystem::path& folder, const ConfigPlace& file) {
  return read_stored(lora_keys(), config, folder, file);
}

}  // namespace lora::config
