#pragma once

namespace lora::peft {

/// The files of an adapter in PEFT's format, and what its keys begin with.
inline constexpr const char* kAdapterConfigFile = "adapter_config.json";
inline constexpr const char* kAdapterWeightsFile = "adapter_model.safetensors";
inline constexpr const char* kAdapterPickleFile = "adapter_model.bin";  ///< of PEFT's older versions; read, never written
inline constexpr const char* kDiffusersWeightsFile = "pytorch_lora_weights.safetensors";  ///< the name that diffusers looks for
/// Those of the adapters library, next to adapter_config.json: the adapter, and the head that was trained with it.
inline constexpr const char* kBottleneckWeightsFile = "adapter.safetensors";
inline constexpr const char* kBottleneckPickleFile = "pytorch_adapter.bin";  ///< read, never written
inline constexpr const char* kHeadConfigFile = "head_config.json";
inline constexpr const char* kHeadWeightsFile = "model_head.safetensors";
inline constexpr const char* kHeadPickleFile = "pytorch_model_head.bin";  ///< read, never written
/// Holds the trained rows and networks of an adapter of virtual tokens as they are, next to PEFT's file, which has only what they compute.
/// A run continues from it; PEFT ignores it.
inline constexpr const char* kPromptEncoderFile = "prompt_encoder.safetensors";
/// Holds AdaLoRA's pairs with the ranks that PEFT's file leaves out, and what chooses them, so that a run continues from it.
inline constexpr const char* kRankBudgetFile = "rank_budget.safetensors";
inline constexpr const char* kKeyPrefix = "base_model.model.";

}  // namespace lora::peft
