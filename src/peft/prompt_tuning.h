#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "lora/nn/tap.h"
#include "lora/peft/method.h"
#include "peft/prompt_encoder.h"
#include "peft/prompt_method.h"

// Prompt tuning's functions for the table of methods, and what P-tuning, whose virtual tokens a network computes, shares with it.
namespace lora::peft {

/// Attaches trained embeddings of virtual tokens before each document (Lester et al. 2021).
std::unique_ptr<Method> attach_prompt(const PromptTuningOptions& options, nn::Model& model, const BaseReference& base, uint64_t seed,
                                      const std::string& adapter_name);

/// Throws what attaching virtual tokens would throw for this model.
void require_prompt_place(const PromptOptions& options, const char* peft_type, nn::Model& model);

/// Attaches the encoder that `make` returns for rows of this width, after the table of tokens.
std::unique_ptr<Method> attach_virtual_tokens(const PromptOptions& options, PromptKind kind, nn::Model& model, const BaseReference& base,
                                              const std::string& adapter_name,
                                              const std::function<std::shared_ptr<PromptEncoder>(const nn::EmbeddingTap& place)>& make);

}  // namespace lora::peft
