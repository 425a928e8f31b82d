#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lora/peft/adapter.h"
#include "lora/peft/adapter_folder.h"
#include "lora/peft/given_starts.h"
#include "lora/peft/method.h"

// LoRA's functions for the table of methods.
namespace lora::peft {

/// Attaches LoRA (Hu et al. 2021) to the hosts that the options choose, together with whatever else the options train (attach_adapter).
/// @param starts of all its pairs, computed from data; empty: they are initialized by the options.
std::unique_ptr<Method> attach_lora(const LoraOptions& options, nn::Model& model, const BaseReference& base, uint64_t seed,
                                    const std::string& adapter_name = "default", const std::vector<ModuleStart>& starts = {});

/// Throws what attach_lora would throw for the choice of modules.
void require_lora_targets(const LoraOptions& options, nn::Model& model);

/// The stored adapter as changes of weights (read_adapter).
Adapter read_lora(const AdapterFolder& folder, const LoraOptions& options);

}  // namespace lora::peft
