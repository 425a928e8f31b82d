#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lora/nn/model.h"
#include "lora/nn/parameter.h"
#include "lora/nn/step_rule.h"
#include "lora/peft/base_reference.h"
#include "lora/peft/method_options.h"

namespace lora::peft {

/// The hosts that one entry of target_modules matched, for the table in the summary.
struct TargetMatch {
  std::string entry;
  std::vector<std::string> hosts;
};

/// A way to adapt a model, attached to a model. It owns the trained tensors and reads and writes their file.
class Method {
 public:
  virtual ~Method() = default;

  /// Its name for users: "LoRA", "DoRA", "full fine-tuning".
  virtual std::string name() const = 0;
  /// The trained tensors in the model's order.
  virtual const std::vector<nn::Parameter>& parameters() const = 0;
  /// Which hosts each target matched.
  virtual const std::vector<TargetMatch>& matches() const = 0;
  /// Writes the result into an existing folder. Throws Error (diverged) for a non-finite value, before writing anything.
  virtual void save(const std::filesystem::path& folder) const = 0;
  /// Loads the trained values from a folder that save() wrote. Throws model Error that lists every missing, unexpected, misshapen or
  /// non-finite tensor.
  virtual void load(const std::filesystem::path& folder) = 0;
  /// Name of the weights file that save() writes.
  virtual std::string weights_file() const = 0;
  /// What the method does around each update of a run of so many steps, with the state that load() has loaded; null: nothing. Throws config
  /// Error for a run that is too short for it.
  virtual nn::StepRule* step_rule(int64_t) { return nullptr; }
};

/// Attaches an adapter of the options' method, and freezes everything else. New weights are a pure function of (seed, parameter name);
/// with init_from they are that adapter's. Throws config Error for a target that matches nothing, listing what could be matched, and
/// model Error for an init_from of another base.
/// @param options not those of full fine-tuning.
/// @param adapter_name distinguishes adapters on the same base.
std::unique_ptr<Method> attach_adapter(const MethodOptions& options, nn::Model& model, const BaseReference& base, uint64_t seed,
                                       const std::string& adapter_name = "default");

/// Throws what attach_adapter would throw for the choice of modules, without attaching anything.
void require_matching_targets(const MethodOptions& options, nn::Model& model);

/// Whether the base's own tensors change when this adapter is attached, because its initialization is subtracted from them.
bool changes_base(const MethodOptions& options);

/// Whether the initialization needs a pass over the data (lora/peft/eva.h).
bool starts_from_data(const MethodOptions& options);

/// Whether adapters of this peft_type are changes of weights, which read_adapter() reads; true for an unknown one.
bool changes_weights(const std::string& peft_type);

/// The peft_type of every method.
std::vector<std::string> peft_types();

/// The files of a fully fine-tuned model.
struct FullResult {
  Json config;                                    ///< config.json, to which the dtype of the weights is added
  std::map<std::string, std::string> names = {};  ///< from the model's names of weights to those of the file, where they differ
  /// The network of a text-to-image pipeline ("unet"): the folder of its two files, which are diffusers'; its config.json stays as it is.
  std::string component = "";

  /// In the folder of the result.
  std::string weights_file() const;
};

/// Trains every base weight, or some. The result has all weights.
/// @param patterns regular expressions, found anywhere in the name of a trained weight; none: all are trained. Throws config Error for one
///   that is found in no name.
std::unique_ptr<Method> attach_full(nn::Model& model, FullResult result,
                                    const std::optional<std::vector<std::string>>& patterns = std::nullopt);

}  // namespace lora::peft
