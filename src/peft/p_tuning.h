#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "lora/peft/method.h"

// P-tuning's functions for the table of methods.
namespace lora::peft {

/// Attaches virtual tokens before each document, whose embeddings a small network computes (Liu et al. 2021).
std::unique_ptr<Method> attach_p_tuning(const PTuningOptions& options, nn::Model& model, const BaseReference& base, uint64_t seed,
                                        const std::string& adapter_name);

}  // namespace lora::peft
