#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lora/io/tensors.h"
#include "lora/peft/base_reference.h"
#include "lora/peft/options.h"

namespace lora::peft {

using at::Tensor;

/// The change of one module's weight: W' = W + scale · B A. With DoRA, each row of W' is scaled to the length that the magnitude
/// gives (Liu et al. 2024, section 4.1). I inputs, O outputs, R rank.
struct LowRankUpdate {
  std::string module;  ///< transformers' module name, e.g. "model.layers.0.self_attn.q_proj"
  Tensor A_RI;         ///< float32, like B
  Tensor B_OR;
  double alpha = 0;                   ///< lora_alpha of this module
  double scale = 1;                   ///< scale_of(alpha, R, …)
  std::optional<Tensor> magnitude_O;  ///< DoRA
  std::optional<Tensor> bias_O;       ///< lora_bias: the bias of lora_B, scaled like it
  /// The module is an embedding: I are token ids, O are channels, and its weight is [I, O].
  bool is_embedding = false;
  /// The module is a projection with a weight [I, O]: transformers' Conv1D (GPT-2; PEFT's fan_in_fan_out).
  bool inputs_first = false;

  /// Whether the changed weight is [I, O].
  bool is_turned() const { return is_embedding || inputs_first; }
  int64_t rank() const { return A_RI.size(0); }
};

/// A base tensor that the adapter holds, or some of its rows (trainable_token_indices).
struct HeldTensor : io::NamedTensor {
  std::vector<int64_t> rows = {};  ///< the rows of the base tensor that it holds; empty: all
  /// A tensor of the base that PEFT saves with the adapter (embeddings and head that are targets or belong to a resized vocabulary).
  /// If modules share the weight, it applies to each of them.
  bool of_base = false;
};

/// The content of an adapter folder, without a model: the starting point of merging, inspecting, converting and combining.
struct Adapter {
  LoraOptions options;
  Json config;                         ///< adapter_config.json as stored in the folder
  std::vector<LowRankUpdate> updates;  ///< ordered by module name
  /// Tensors of the base that the adapter holds, under their names in the base (modules_to_save, biases, rows of trained tokens).
  std::vector<HeldTensor> replaced;
  std::filesystem::path weights_file;
  std::string base_fingerprint;  ///< of the base that it was trained on; empty: not known
  std::string labels;            ///< the labels of its classifier, as JSON; empty: not stored
};

/// The factor of LoRA's B A x: alpha / rank, or alpha / sqrt(rank) with rsLoRA (Kalajdzievski 2023).
double scale_of(double alpha, int64_t rank, bool use_rslora);

/// Reads the folder (AdapterFolder). `options` are those of its adapter_config.json. Throws model Error that lists every unknown key,
/// incomplete pair, pair of a module that target_modules does not choose, shape mismatch and non-finite value.
Adapter read_adapter(const std::filesystem::path& folder, const LoraOptions& options);

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

/// Throws model Error if the adapter needs settle_start: for commands that have no base.
void require_settled(const Adapter& adapter);

/// Sets for every projection except the head whether its weight is [I, O], as in the base's family: PEFT's file has only one flag for
/// all modules.
void set_inputs_first(Adapter& adapter, bool inputs_first);

/// scale · B A in the weight's layout ([O, I], an embedding's or a Conv1D's [I, O]), float32. Without DoRA's magnitude.
Tensor delta(const LowRankUpdate& update);

/// The weight with the update, computed in float32 or wider and rounded once to `weight`'s dtype. Throws model Error if the shapes do
/// not match.
Tensor merged(const LowRankUpdate& update, const Tensor& weight);

}  // namespace lora::peft
