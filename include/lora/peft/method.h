#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lora/nn/model.h"
#include "lora/nn/parameter.h"
#include "lora/peft/base_reference.h"
#include "lora/peft/options.h"

namespace lora::peft {

/// How many hosts one entry of target_modules matched: the summary's table.
struct TargetMatch {
  std::string entry;
  std::vector<std::string> hosts;
};

/// A way to adapt a model, attached to one. It owns what is trained, and its file.
class Method {
 public:
  virtual ~Method() = default;

  /// What the user calls it: "LoRA", "DoRA", "full fine-tuning".
  virtual std::string name() const = 0;
  /// The trained tensors, in the model's order.
  virtual const std::vector<nn::Parameter>& parameters() const = 0;
  /// What was matched by which target.
  virtual const std::vector<TargetMatch>& matches() const = 0;
  /// Writes the result into an existing folder. Throws Error (diverged) for a non-finite value, before writing anything.
  virtual void save(const std::filesystem::path& folder) const = 0;
  /// Takes the trained values from a folder written by save(). Throws model Error that lists every missing, surplus,
  /// misshapen or non-finite tensor.
  virtual void load(const std::filesystem::path& folder) = 0;
  /// Name of the weights' file that save() writes.
  virtual std::string weights_file() const = 0;
};

/// Attaches LoRA (Hu et al. 2021) to the hosts that the options choose, and what they train beside it; freezes
/// everything else, the base's own values stay. New weights are a pure
/// function of (seed, parameter name); with init_from they are that adapter's. Throws config Error for a target that
/// matches nothing (lists what there is).
/// Throws model Error for an init_from of another base.
/// @param adapter_name tells the attachments of one adapter from those of others on the same base.
std::unique_ptr<Method> attach_lora(const LoraOptions& options, nn::Model& model, const BaseReference& base, uint64_t seed,
                                    const std::string& adapter_name = "default");

/// Throws what attach_lora would for the choice of modules, without attaching.
void check_targets(const LoraOptions& options, nn::Model& model);

/// Whether the model's own tensors are others once this adapter has been attached and trained: its start is taken out
/// of them.
bool trains_or_changes_base(const LoraOptions& options);

/// Trains every base weight. The result is `config` with the weights' dtype, and model.safetensors.
/// @param file_names the files' names of the weights, where they are not the model's.
std::unique_ptr<Method> attach_full(nn::Model& model, const Json& config, std::map<std::string, std::string> file_names = {});

}  // namespace lora::peft
