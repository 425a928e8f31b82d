#pragma once
#include "lora/peft/options.h"

// The options of the methods that train copies of some of the base's own weights, and nothing else.
namespace lora::peft {

/// The methods' peft_types. PEFT has no BITFIT.
inline constexpr const char* kLnTuning = "LN_TUNING";
inline constexpr const char* kBitFit = "BITFIT";
inline constexpr const char* kTrainableTokens = "TRAINABLE_TOKENS";

/// Tuning of norms (Zhao et al. 2023, arXiv 2312.11420): PEFT's LNTuningConfig.
struct LnTuningOptions : TargetOptions {};

/// BitFit (Ben Zaken et al. 2022): the biases of the target modules; of every module if target_modules is null.
struct BitFitOptions : TargetOptions {};

/// Rows of the embeddings or the head: PEFT's TrainableTokensConfig. target_modules is null (the input embeddings) or chooses among
/// embeddings and head.
struct TrainableTokensOptions : TargetOptions {
  std::vector<int64_t> token_indices;  ///< in the order of the rows in the file
};

}  // namespace lora::peft
