#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "lora/peft/base_reference.h"
#include "lora/peft/method_options.h"
#include "lora/peft/update.h"

namespace lora::peft {

/// The content of an adapter folder, without a model: the starting point of merging, inspecting, converting and combining.
struct Adapter {
  LoraOptions options;
  Json config;                         ///< adapter_config.json as stored in the folder
  std::vector<AdapterUpdate> updates;  ///< each kind ordered by module name
  std::filesystem::path weights_file;
  std::string base_fingerprint;  ///< of the base that it was trained on; empty: not known
  BaseQuantization base_quantization;
  std::string labels;            ///< the labels of its classifier, as JSON; empty: not stored

  std::vector<LowRankUpdate> low_rank() const { return of_kind<LowRankUpdate>(updates); }
  /// Tensors of the base that the adapter holds, under their names in the base (modules_to_save, biases, rows of trained tokens).
  std::vector<HeldTensor> held() const { return of_kind<HeldTensor>(updates); }
  /// Replaces the low-rank updates.
  void set_low_rank(std::vector<LowRankUpdate> low_rank);
};

/// The adapter's updates with PEFT's wrappers in their keys, as its file holds them.
std::vector<AdapterUpdate> updates_of(const Adapter& adapter);

/// Reads the folder (AdapterFolder). `options` are those of its adapter_config.json. Throws model Error for a method that does not change
/// weights; otherwise one that lists every unknown key, incomplete pair, pair of a module that target_modules does not choose, shape
/// mismatch and non-finite value.
Adapter read_adapter(const std::filesystem::path& folder, const MethodOptions& options);

/// Writes adapter_model.safetensors and adapter_config.json into an existing folder. r and lora_alpha are the most frequent values of
/// the updates, others go into the patterns; init_lora_weights is true; the base fingerprint is the adapter's. Throws Error (diverged)
/// for a value that is not finite.
void write_adapter(const std::filesystem::path& folder, const Adapter& adapter, const std::string& base_name);

/// Gives the modules the base's names if replacing one prefix does so for all of them (AdapterFolder::align). The options then name the
/// same modules in the base.
void align(Adapter& adapter, const std::vector<std::string>& base_modules);

/// Renames every module, in the tensors and in the options. Returns whether any name changed.
bool rename_modules(Adapter& adapter, const std::function<std::string(const std::string& module)>& rename_one);

/// Clears what the options say about the choice of target modules, so that write_adapter lists the whole names of the adapted modules.
void list_targets(LoraOptions& options);

/// Turns an adapter with PiSSA's or OLoRA's initialization, as PEFT saves it without conversion, into an adapter of twice the rank for
/// the unchanged base (Residuals). Other adapters are unchanged. Throws model Error for an initialization that cannot be reproduced.
/// @param weight_of returns a module's base weight as [O, I].
void settle_start(Adapter& adapter, const std::function<Tensor(const std::string& module)>& weight_of);

/// Throws model Error if the adapter changes modules by a formula: for commands that work on low-rank pairs.
/// @param what that the command does: "converted".
void require_low_rank(const Adapter& adapter, const std::string& what);

/// Throws model Error if the adapter needs settle_start: for commands that have no base.
void require_settled(const Adapter& adapter);

/// Sets for every projection except the head whether its weight is [I, O], as in the base's family: PEFT's file has only one flag for
/// all modules.
void set_inputs_first(Adapter& adapter, bool inputs_first);

}  // namespace lora::peft
