#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "config/findings.h"
#include "config/paths.h"
#include "lora/base/json.h"
#include "lora/peft/method_options.h"

namespace lora::config {

/// The use of a saved adapter: the other programs compute with it, a run trains it further.
enum class AdapterUse { kCompute, kTrain };

/// The adapter_config.json in `folder`, or null if it cannot be read, which is reported at `at`.
Json read_stored_config(const std::filesystem::path& folder, const ConfigPlace& at);

/// The place of the keys of the adapter_config.json in `folder`, with the findings of `at`.
ConfigPlace stored_place(const std::filesystem::path& folder, const ConfigPlace& at);

/// The folder that the init_from of an `adapter` section names; none if it names none.
std::optional<std::filesystem::path> start_of(const Json& section, const Context& context);

/// Checks PEFT's rules for the choice of layers (LoraConfig.__post_init__), and reports violations at `at`.
void check_layers(const peft::TargetOptions& options, const ConfigPlace& at);

/// The config's peft_type; "LORA" if it has none.
Json peft_type_of(const Json& config);

/// Whether the config's peft_type is one of these; if not, reports that at `at`.
bool has_peft_type(const Json& config, const std::vector<std::string>& types, const ConfigPlace& at);

/// The keys of a saved adapter that have an effect. Left out are unknown keys whose values request nothing (with a log line; PEFT ignores
/// unknown keys of any value), and for kCompute the keys for the initialisation and training of the adapter. An unknown key with another
/// value is reported at `at`.
/// @param known the keys of the adapter's method.
Json stored_keys(const Json& config, const std::vector<std::string>& known, AdapterUse use, const ConfigPlace& at);

/// The options with which a saved adapter is attached to compute with it; errors in its folder are reported at `at`.
peft::MethodOptions read_stored_adapter(const std::filesystem::path& folder, const ConfigPlace& at);

}  // namespace lora::config
