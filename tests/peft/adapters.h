#pragma once
#include <ATen/core/grad_mode.h>

#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "lora/models/base_model.h"
#include "lora/peft/adapter.h"
#include "lora/peft/method.h"
#include "support/batches.h"

namespace lora::test {

/// The file with an adapter's tensors.
inline constexpr const char* kWeights = "adapter_model.safetensors";

/// LoRA on these modules with the defaults of every other option.
inline peft::LoraOptions default_lora(std::vector<std::string> targets) {
  peft::LoraOptions options;
  options.target_modules = {peft::ModuleChoice::Kind::kList, std::move(targets), ""};
  return options;
}

/// LoRA of rank 4 and alpha 6 on these modules.
inline peft::LoraOptions small_lora(std::vector<std::string> targets) {
  peft::LoraOptions options = default_lora(std::move(targets));
  options.r = 4;
  options.lora_alpha = 6;
  return options;
}

inline std::unique_ptr<peft::Method> attach(const peft::MethodOptions& options, const models::BaseModel& base) {
  return peft::attach_adapter(options, *base.model, "base", 1);
}

/// What the model gives for two documents.
inline at::Tensor hidden_of(const nn::Model& model) {
  const at::NoGradGuard no_grad;
  return model.body->hidden(nn::evaluation_pass(batch_of(documents_of({9, 4}, 48))));
}

/// One of an adapter's low-rank updates.
inline peft::LowRankUpdate& pair_of(peft::Adapter& adapter, size_t index = 0) {
  for (peft::AdapterUpdate& update : adapter.updates) {
    auto* const pair = std::get_if<peft::LowRankUpdate>(&update);
    if (pair != nullptr && index-- == 0) {
      return *pair;
    }
  }
  throw std::out_of_range("no such update");
}
inline peft::LowRankUpdate pair_of(const peft::Adapter& adapter, size_t index = 0) {
  return adapter.low_rank().at(index);
}

/// The model of a folder, on the CPU.
inline models::BaseModel load_folder(const std::filesystem::path& folder) {
  models::ModelOptions options;
  options.path = folder;
  options.device = "cpu";
  return models::load_base_model(options, 0);
}

}  // namespace lora::test
