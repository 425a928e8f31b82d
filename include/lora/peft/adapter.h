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

/// What an adapter does to one module's weight: W' = W + scale · B A, and with DoRA each row of it at the length that
/// the magnitude says (Liu et al. 2024, section 4.1). I inputs, O outputs, R rank.
struct LowRankUpdate {
  std::string module;  ///< transformers' module name, e.g. "model.layers.0.self_attn.q_proj"
  Tensor A_RI;         ///< float32, as B
  Tensor B_OR;
  double alpha = 0;                   ///< lora_alpha of this module
  double scale = 1;                   ///< scale_of(alpha, R, …)
  std::optional<Tensor> magnitude_O;  ///< DoRA
  std::optional<Tensor> bias_O;       ///< lora_bias: the bias of lora_B, scaled like it
  /// An embedding's: I are token ids, O channels; the weight it changes is [I, O].
  bool is_embedding = false;
  /// A projection whose weight is [I, O]: transformers' Conv1D (GPT-2; PEFT's fan_in_fan_out).
  bool inputs_first = false;

  /// Whether the weight it changes is [I, O].
  bool is_turned() const { return is_embedding || inputs_first; }
  int64_t rank() const { return A_RI.size(0); }
};

/// A base tensor that the adapter holds, or some of its rows (trainable_token_indices).
struct HeldTensor : io::NamedTensor {
  std::vector<int64_t> rows = {};  ///< which rows of the base tensor it has; empty: all
  /// A value of the base that PEFT saves along (embeddings and head that are targets, or of a resized vocabulary); a weight that
  /// modules share has it at each of them.
  bool of_base = false;
};

/// An adapter as its folder holds it, without a model: where merging, inspecting, converting and combining start.
struct Adapter {
  LoraOptions options;
  Json config;                         ///< adapter_config.json as it stands in the folder
  std::vector<LowRankUpdate> updates;  ///< in the order of the modules' names
  /// Base tensors that it holds, under their names in the base (modules_to_save, biases, rows of trained tokens).
  std::vector<HeldTensor> replaced;
  std::filesystem::path weights_file;
  std::string base_fingerprint;  ///< of the base it was trained on; empty: not known
  std::string labels;            ///< what its classifier means, as JSON; empty: it names none
};

/// What LoRA's B A x is multiplied by: alpha / rank, or alpha / sqrt(rank) (Kalajdzievski 2023).
double scale_of(double alpha, int64_t rank, bool use_rslora);

/// Reads the folder (AdapterFolder), whose adapter_config.json gave `options`. Throws model Error listing every key that is
/// not understood, half of a pair that stands alone, pairs of modules that target_modules does not mean, shapes that do not fit, and
/// values that are not finite.
Adapter read_adapter(const std::filesystem::path& folder, const LoraOptions& options);

/// Writes adapter_model.safetensors and adapter_config.json into an existing folder: r and lora_alpha as the updates
/// have them (the commonest in `r` and `lora_alpha`, others in the patterns), init_lora_weights true. Throws Error
/// (diverged) for a value that is not finite. The fingerprint of the base is the adapter's.
void write_adapter(const std::filesystem::path& folder, const Adapter& adapter, const std::string& base_name);

/// Gives the modules the base's names, if one change of the names' beginnings does it for all of them (AdapterFolder::align). The options
/// then name the same modules in the base.
void align(Adapter& adapter, const std::vector<std::string>& base_modules);

/// Renames every module, in the tensors and in the options. Returns whether any name changed.
bool rename_modules(Adapter& adapter, const std::function<std::string(const std::string& module)>& rename_one);

/// Clears what the options say about the choice of target modules, so that write_adapter lists the whole names of the adapted modules.
void list_targets(LoraOptions& options);

/// Makes an adapter with PiSSA's or OLoRA's start, as PEFT saves it without conversion, one of the untouched base with twice the rank
/// (Residuals). Others stay. Throws model Error for a start that cannot be made again.
/// @param weight_of the base's weight of a module as [O, I].
void settle_start(Adapter& adapter, const std::function<Tensor(const std::string& module)>& weight_of);

/// Throws model Error where the adapter needs settle_start and there is no base.
void require_settled(const Adapter& adapter);

/// Says of every projection but the head whether its weight is [I, O], as the base's family has it: PEFT's file holds one
/// flag for all modules.
void set_inputs_first(Adapter& adapter, bool inputs_first);

/// scale · B A in the weight's layout ([O, I], an embedding's or a Conv1D's [I, O]), float32. Without DoRA's magnitude.
Tensor delta(const LowRankUpdate& update);

/// The weight with the update: computed in float32 or wider, rounded once to `weight`'s dtype. Throws model Error if
/// the shapes do not fit.
Tensor merged(const LowRankUpdate& update, const Tensor& weight);

}  // namespace lora::peft
