#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "lora/peft/method.h"

// Prefix tuning's functions for the table of methods.
namespace lora::peft {

/// Attaches trained keys and values before those of each document in every layer (Li & Liang 2021). As in PEFT they are not rotated, and
/// positions start after them.
std::unique_ptr<Method> attach_prefix(const PrefixOptions& options, nn::Model& model, const BaseReference& base, uint64_t seed,
                                      const std::string& adapter_name);

/// Throws what attach_prefix would throw for this model.
void require_prefix_places(const PrefixOptions& options, nn::Model& model);

}  // namespace lora::peft
