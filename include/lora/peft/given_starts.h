#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "lora/peft/method.h"

namespace lora::peft {

/// The initial lora_A [rank, in] and lora_B [out, rank] of a module, computed from data: float32.
struct ModuleStart {
  std::string module;
  at::Tensor A_RI;
  at::Tensor B_OR;
};

/// Attaches the adapter like attach_lora, with these initial values, which are subtracted from the weights (Residuals). Throws model Error
/// if a module of the adapter has none among them.
std::unique_ptr<Method> attach_with_starts(const LoraOptions& options, const std::vector<ModuleStart>& starts, nn::Model& model,
                                           const BaseReference& base, uint64_t seed);

/// The initial values of a run whose adapter is saved in `folder`: its file has them next to the trained values. Throws model Error if
/// the folder has no adapter, or one of other ranks.
std::vector<ModuleStart> saved_starts(const LoraOptions& options, nn::Model& model, const std::filesystem::path& folder);

}  // namespace lora::peft
