#pragma once
#include <concepts>
#include <filesystem>
#include <optional>

#include "config/sections.h"
#include "config/stored_adapter.h"
#include "config/table.h"
#include "lora/peft/file_names.h"
#include "lora/peft/options.h"

// What the `adapter` sections of all methods have in common: PEFT's metadata, and init_from with what is inherited from that adapter. A
// method brings its table and its own rules.
namespace lora::config {

/// Adds the keys that describe a file of PEFT and not the adapter.
template <std::derived_from<peft::AdapterOptions> Options>
void add_metadata(Table<Options>& table) {
  for (const char* key : {"inference_mode", "peft_version", "base_model_name_or_path", "task_type", "auto_mapping", "revision"}) {
    table
        .custom({key, "Metadata that PEFT writes; any value is accepted.", Json::object(), nullptr,
                 [](const Json&, Options&, const ConfigPlace&) {}})
        .only_where_given();
  }
}

/// Adds init_from.
template <std::derived_from<peft::AdapterOptions> Options>
void add_init_from(Table<Options>& table) {
  table
      .value(
          "init_from", [](auto& o) -> auto& { return o.init_from; }, nullable(text()),
          "Folder of an adapter to continue training from; its adapter_config.json supplies every key that is not given here.")
      .example("runs/first");
}

/// The keys of a method and the rules between them.
template <std::derived_from<peft::AdapterOptions> Options>
struct MethodKeys {
  const char* peft_type;
  const Table<Options>& table;  ///< with add_metadata() and add_init_from()
  /// Reports keys of a run's section that do not go together.
  void (*check)(const Options& options, const Json& section, const ConfigPlace& at);
  /// Reports keys of a section that must be those of `start`, the adapter_config.json of init_from.
  void (*check_start)(const Json& start, const Json& section, const ConfigPlace& at);
  /// Completes the options that were read from a stored adapter's `config`, and reports what is wrong with them.
  void (*settle_stored)(const Json& config, const std::filesystem::path& folder, AdapterUse use, Options& options, const ConfigPlace& file);
};

/// Reads the keys of the adapter in `folder` that `section` does not give.
template <typename Options>
void inherit(const MethodKeys<Options>& keys, const std::filesystem::path& folder, const Json& section, const ConfigPlace& at,
             Options& options) {
  const Json start = read_stored_config(folder, at.key("init_from"));
  const ConfigPlace file = stored_place(folder, at);
  if (start.is_null() || !has_peft_type(start, {keys.peft_type}, file)) {
    return;
  }
  keys.check_start(start, section, at);
  options.config = stored_keys(start, keys.table.keys(), AdapterUse::kTrain, file);
  for (const auto& [key, value] : section.items()) {
    options.config.erase(key);
  }
  keys.table.read(options.config, options, file);
  keys.settle_stored(start, folder, AdapterUse::kTrain, options, file);
}

/// Reads the `adapter` section of a run, an object.
template <typename Options>
Section<Options> read_section(const MethodKeys<Options>& keys, const Json& section, const ConfigPlace& at, const Context& context) {
  Options options;
  options.config = Json::object();
  const std::optional<std::filesystem::path> start = start_of(section, context);
  if (start) {
    inherit(keys, *start, section, at, options);
  }
  keys.table.read(section, options, at);
  if (start) {
    options.init_from = start;
  }
  options.config.update(section);
  options.config.erase("init_from");
  keys.check(options, section, at);
  Json resolved = keys.table.resolved(options, options.config);
  resolved["init_from"] = to_json(options.init_from);
  return {std::move(options), std::move(resolved)};
}

/// Reads the adapter_config.json in `folder`, to compute with that adapter; `file` is the place of its keys.
template <typename Options>
Options read_stored(const MethodKeys<Options>& keys, const Json& config, const std::filesystem::path& folder, const ConfigPlace& file) {
  Options options;
  options.config = stored_keys(config, keys.table.keys(), AdapterUse::kCompute, file);
  keys.table.read(options.config, options, file);
  keys.settle_stored(config, folder, AdapterUse::kCompute, options, file);
  options.init_from = folder;
  return options;
}

}  // namespace lora::config
