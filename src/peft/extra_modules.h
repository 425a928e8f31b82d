#pragma once
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "lora/nn/model.h"
#include "lora/peft/method.h"
#include "lora/peft/options.h"
#include "lora/peft/update.h"

namespace lora::peft {

/// What an adapter trains in addition to its low-rank pairs: biases of the base, whole modules, and token rows. The base keeps its own
/// values; these are float32 copies that replace them while the adapter is in use.
struct ExtraModules {
  struct Trained {
    HeldTensor held;
    bool weight_decay;
  };
  std::vector<Trained> trained;
  std::vector<AdapterUpdate> aliases;  ///< trained tensors under additional names in the file (tied weights)
  std::vector<TargetMatch> matches;
};

/// Attaches what `bias`, `modules_to_save` and `trainable_token_indices` request, like PEFT: modules_to_save are ends of module names
/// (not only after a '.'); a module that contains others is trained with all of them; a tied head keeps the base's weight unless
/// ensure_weight_tying is set, but shares the token rows of the embeddings. Throws config Error for a name that matches nothing, a
/// module that would be trained in two ways, and token ids that are duplicate or not in the vocabulary.
/// @param adapted names of the modules that the method itself adapts.
ExtraModules attach_extra_modules(const ExtraOptions& options, nn::Model& model, const std::set<std::string>& adapted,
                                  const std::string& adapter_name);

/// Trains a copy of a base weight: a separate tensor, float32 or wider, that replaces the base's while the adapter is in use.
/// @param wrapper HeldTensor::wrapper.
ExtraModules::Trained train_copy(nn::BaseWeight& weight, const std::string& adapter_name, const std::string& wrapper);

/// Throws config Error at the key `where` for ids that are duplicate or not in the vocabulary.
void require_token_ids(std::vector<int64_t> ids, int64_t vocab_size, const std::string& where);

}  // namespace lora::peft
