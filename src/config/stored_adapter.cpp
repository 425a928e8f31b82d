#include "config/stored_adapter.h"

#include <algorithm>
#include <array>
#include <system_error>

#include "config/bottleneck_section.h"
#include "config/rule.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/peft/file_names.h"

namespace lora::config {

namespace {

/// Keys that have no effect on a saved adapter: of PEFT before 0.3, and of Axolotl (how it merges into a base in NVFP4).
constexpr std::array<std::string_view, 2> kIdleKeys{"merge_weights", "nvfp4_merge_aware"};
/// Keys for the initialisation of an adapter or the computation of its gradients: without effect once it is trained.
constexpr std::array<std::string_view, 6> kTrainingKeys{"eva_config",    "corda_config",   "lora_ga_config",
                                                        "velora_config", "runtime_config", "loftq_config"};
/// Initialisations of PEFT that this version does not support in training, and that leave the base unchanged.
constexpr std::array<std::string_view, 2> kOtherStarts{"mica", "lora_ga"};

template <size_t N>
bool is_one_of(const std::string& name, const std::array<std::string_view, N>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Whether a value requests nothing: null, false, 0, "", [], {}.
bool is_neutral(const Json& value) {
  return value.is_null() || value == Json(false) || (value.is_number() && value.get<double>() == 0) ||
         ((value.is_string() ? value.get_ref<const std::string&>().empty() : value.is_structured() && value.empty()));
}

bool is_on(const Json& config, const char* key) {
  const auto found = config.find(key);
  return found != config.end() && !is_neutral(*found);
}

/// Whether a known key has no effect on an adapter that is not trained further.
bool is_idle(const std::string& key, const Json& value, const Json& config) {
  return is_one_of(key, kTrainingKeys) || (key == "qalora_group_size" && !is_on(config, "use_qalora")) ||
         (key == "megatron_core" && !is_on(config, "megatron_config")) || (key == "trainable_token_indices" && is_neutral(value));
}

/// The initialisation does not matter for a trained adapter, except where it subtracted a part from the base.
Json stored_start(const Json& init) {
  if (!init.is_string()) {
    return init;
  }
  std::string name = init.get<std::string>();
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c; });
  return is_one_of(name, kOtherStarts) ? Json(true) : Json(name);
}

/// PEFT saves an adapter whose name is not "default" in a subfolder of that name.
std::string hint_of_subfolder(const std::filesystem::path& folder) {
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (std::filesystem::exists(entry->path() / peft::kAdapterConfigFile, ignored)) {
      return ". There is one in " + printable(entry->path().string(), 200) + ".";
    }
  }
  return "";
}

/// The file of a position, whose path ends with ':'.
std::string file_of(const ConfigPlace& at) {
  return at.path.substr(0, at.path.find_last_not_of(':') + 1);
}

void report_unknown(const std::vector<std::string>& keys, const Json& config, const ConfigPlace& at) {
  constexpr size_t kKeysShown = 2;
  if (keys.size() > kKeysShown) {
    at.add("is not an adapter's config that this version can read: found " + std::to_string(keys.size()) + " unknown keys, " +
           join(keys, ", ", kKeysShown) + ". Likely cause: it is another kind of file, or a file of another program.");
    return;
  }
  for (const std::string& key : keys) {
    at.key(key).add("unknown key: found " + shown(config[key]) +
                    ", whose meaning is unknown to this version. PEFT 0.21.2 ignores it; remove it from the file if that is intended.");
  }
}

void warn_of_start(const Json& config, const ConfigPlace& at) {
  if (config.value("init_lora_weights", Json(true)) == "lora_ga") {
    log::warn("[" + at.path +
              "] init_lora_weights \"lora_ga\" subtracted the initial adapter from the base that was trained on: the adapter is used on "
              "the unchanged base, as in PEFT. For exact results save it with PEFT's path_initial_model_for_weight_conversion.");
  }
}

}  // namespace

void check_layers(const peft::TargetOptions& options, const ConfigPlace& at) {
  const bool is_string = options.target_modules.kind == peft::ModuleChoice::Kind::kRegex ||
                         options.target_modules.kind == peft::ModuleChoice::Kind::kAllLinear;
  const auto refuse = [&](const char* key) {
    at.key(key).add("cannot be used with target_modules as a string, as in PEFT: give target_modules as a list of names");
  };
  if (is_string && options.layers_to_transform) {
    refuse("layers_to_transform");
  }
  if (is_string && !options.layers_pattern.empty()) {
    refuse("layers_pattern");
  }
  if (!options.layers_pattern.empty() && !options.layers_to_transform) {
    at.key("layers_pattern").add("needs layers_to_transform, as in PEFT");
  }
}

Json read_stored_config(const std::filesystem::path& folder, const ConfigPlace& at) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored) || !std::filesystem::exists(folder / peft::kAdapterConfigFile, ignored)) {
    const bool is_there = std::filesystem::exists(folder, ignored);
    const std::string fault = is_there ? std::string(" without ") + peft::kAdapterConfigFile : ", which does not exist";
    at.add("found " + shown(Json(folder.string())) + fault + ", expected a folder with " + peft::kAdapterConfigFile + " and " +
               peft::kAdapterWeightsFile + (is_there ? hint_of_subfolder(folder) : ""),
           ErrorKind::kModel);
    return nullptr;
  }
  try {
    Json config = read_json(folder / peft::kAdapterConfigFile, ErrorKind::kModel);
    if (config.is_object()) {
      return with_library_keys(config);
    }
    at.add("found " + shown(config) + " in its " + peft::kAdapterConfigFile + ", expected an object", ErrorKind::kModel);
  } catch (const Error& error) {
    at.add(std::string("cannot be read: ") + error.what(), ErrorKind::kModel);
  }
  return nullptr;
}

ConfigPlace stored_place(const std::filesystem::path& folder, const ConfigPlace& at) {
  return {(folder / peft::kAdapterConfigFile).string() + ":", at.findings};
}

std::optional<std::filesystem::path> start_of(const Json& section, const Context& context) {
  const auto init_from = section.find("init_from");
  const bool is_named = init_from != section.end() && init_from->is_string() && !init_from->get_ref<const std::string&>().empty();
  return is_named ? std::optional(absolute_path(context, init_from->get<std::string>())) : std::nullopt;
}

Json peft_type_of(const Json& config) {
  return config.value("peft_type", Json(peft::kLora));
}

bool has_peft_type(const Json& config, const std::vector<std::string>& types, const ConfigPlace& at) {
  const Json type = peft_type_of(config);
  if (std::any_of(types.begin(), types.end(), [&type](const std::string& known) { return type == known; })) {
    return true;
  }
  std::vector<std::string> quoted;
  for (const std::string& known : types) {
    quoted.push_back('"' + known + '"');
  }
  const std::string expected = (quoted.size() > 2 ? "one of " : "") + join(quoted, quoted.size() > 2 ? ", " : " or ");
  at.key("peft_type")
      .add("found " + shown(type) + ", expected " + expected +
           (types.size() > 1 ? ". This version supports no other method." : ", the method of the section that names this adapter"));
  return false;
}

Json stored_keys(const Json& config, const std::vector<std::string>& known, AdapterUse use, const ConfigPlace& at) {
  Json kept = Json::object();
  std::vector<std::string> passed_over, unknown;
  for (const auto& [key, value] : config.items()) {
    const bool is_known = std::find(known.begin(), known.end(), key) != known.end() && key != "init_from";
    if (is_one_of(key, kIdleKeys) || (use == AdapterUse::kCompute && is_known && is_idle(key, value, config))) {
      continue;
    }
    if (is_known) {
      kept[key] = value;
    } else {
      (is_neutral(value) ? passed_over : unknown).push_back(key);
    }
  }
  report_unknown(unknown, config, at);
  if (!passed_over.empty()) {
    log::warn("[" + file_of(at) + "] unknown keys are ignored because their values request nothing: " + join(passed_over));
  }
  if (use == AdapterUse::kCompute && kept.contains("init_lora_weights")) {
    warn_of_start(config, at);
    kept["init_lora_weights"] = stored_start(kept["init_lora_weights"]);
  }
  return kept;
}

}  // namespace lora::config
