#pragma once
#include <functional>
#include <string>
#include <vector>

#include "lora/base/regex.h"
#include "lora/nn/embedding.h"
#include "lora/nn/linear.h"
#include "lora/nn/model.h"
#include "lora/peft/method.h"
#include "lora/peft/options.h"

namespace lora::peft {

struct ChosenHosts {
  std::vector<nn::Linear*> hosts;  ///< in the model's order
  std::vector<nn::Embedding*> embeddings;
  std::vector<nn::MatrixHost*> convolutions;
  nn::Linear* tied_head = nullptr;  ///< shares the embeddings' pair (ensure_weight_tying); not among hosts
  std::vector<TargetMatch> matches;
  ModuleChoice targets;  ///< as written to adapter_config.json: with defaults and all-linear spelled out
};

/// PEFT's rules (tuners_utils.check_target_module_exists): exclude_modules and modules_to_save come first; a list entry matches a module's
/// whole name or a suffix after a '.'; a string is a regular expression for the whole name; layers_to_transform refers to the first number
/// after layers_pattern; all-linear does not mean convolutions. Unlike in PEFT, an entry that matches nothing is a config Error, and so is
/// an embedding if the options need a projection.
/// @param warns of names that have no effect: where the adapter is attached, not where a choice is only tried.
ChosenHosts choose_hosts(const LoraOptions& options, nn::Model& model, bool warns = true);

struct ChosenModules {
  std::vector<nn::Host*> modules;  ///< of any kind, in the model's order
  std::vector<TargetMatch> matches;
  ModuleChoice targets;  ///< as written to adapter_config.json: with defaults spelled out
};

/// The same for a method that changes modules of any kind.
ChosenModules choose_modules(const TargetOptions& options, nn::Model& model, const std::vector<std::string>& default_targets, bool warns);

/// The same for a method that adapts projections only: an embedding or another module among the targets is a config Error.
/// @param name the method's, for messages. @param default_targets used if the options name none.
ChosenHosts choose_projections(const TargetOptions& options, nn::Model& model, const std::string& name,
                               const std::vector<std::string>& default_targets, bool warns);

/// Whether target_modules, exclude_modules and layers_to_transform choose a module, as far as its name tells: choices that depend on the
/// kind of module (all-linear, a family's default, ensure_weight_tying) accept any. `options` must outlive the function.
std::function<bool(const std::string& module)> named_targets(const TargetOptions& options);

/// The model's input embeddings, which are its first embedding; null if it has none.
nn::Embedding* input_embeddings(nn::Model& model);

/// The expression for a key of rank_pattern or alpha_pattern: it matches the end of a module's name (PEFT's get_pattern_key).
Regex pattern_regex(const std::string& key, const std::string& where);

/// The value of the first key of a rank_pattern or alpha_pattern that matches the module, or `fallback`.
template <typename T>
T pattern_value(const std::vector<std::pair<std::string, T>>& pattern, const std::string& module, T fallback, const std::string& where);

}  // namespace lora::peft
