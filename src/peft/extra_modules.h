#pragma once
#include <set>
#include <string>
#include <vector>

#include "lora/nn/model.h"
#include "lora/peft/method.h"
#include "lora/peft/options.h"

namespace lora::peft {

/// What an adapter trains beside its low-rank pairs: biases of the base, whole modules, rows by token. The base keeps
/// its own values; these are float32 copies that stand in for them while the adapter is in use.
struct ExtraModules {
  std::vector<nn::Parameter> parameters;  ///< called as in the file
  std::vector<nn::Parameter> aliases;     ///< some of them under further names of the file: tied weights
  std::vector<TargetMatch> matches;
};

/// Attaches what `bias`, `modules_to_save` and `trainable_token_indices` ask for, as PEFT does: modules_to_save are ends
/// of modules' names (without regard to a '.'); a module that holds others is trained with all of them; a tied head
/// keeps the base's weight unless ensure_weight_tying is set, but shares the rows by token that a list gives the
/// embeddings. Throws config Error for a name that matches nothing, a module that is adapted or trained in two ways, and
/// token ids that are doubled or not in the vocabulary.
/// @param adapted names of the modules that have a low-rank pair.
ExtraModules attach_extra_modules(const LoraOptions& options, nn::Model& model, const std::set<std::string>& adapted,
                                  const std::string& adapter_name);

}  // namespace lora::peft
