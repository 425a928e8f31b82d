#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "lora/base/enum_table.h"
#include "lora/generate/options.h"
#include "lora/nn/model.h"

namespace lora::generate {

struct Prompt {
  std::vector<int32_t> ids;
  int64_t index = 0;                  ///< its index among all prompts, which with the seed determines its random numbers
  std::vector<int32_t> eos_ids = {};  ///< tokens that end its completion, in addition to those of the options
};

/// Why a completion ended.
enum class FinishReason { kEos, kStop, kLength };
inline constexpr EnumTable<FinishReason, 3> kFinishReasons{
    {{{FinishReason::kEos, "eos"}, {FinishReason::kStop, "stop"}, {FinishReason::kLength, "length"}}}};

struct Completion {
  std::vector<int32_t> ids;  ///< the new tokens, including an EOS
  FinishReason reason = FinishReason::kLength;
};

/// Callbacks while prompts are completed. Prompts are identified by their index in the batch.
struct Listener {
  /// Receives a new token that is not an EOS. Returns false to end the completion (a stop string).
  std::function<bool(size_t prompt, int32_t id)> on_token;
  /// A prompt is finished; others may still be running.
  std::function<void(size_t prompt, const Completion& completion)> on_finish;
};

/// Completes prompts with a model in its current state, with the adapter in use and without dropout.
class Generator {
 public:
  /// Throws what require_valid_options throws.
  Generator(nn::Model& model, GenerationOptions options);

  /// Completes `prompts` (each with at least one id) together: one packed pass over the prompts, then one token per prompt and
  /// pass; a finished prompt leaves the batch. A completion does not depend on the other prompts, except for the last bits of the
  /// arithmetic. Throws Interrupted between tokens, and model Error for logits that are not finite.
  void complete(const std::vector<Prompt>& prompts, const Listener& listener) const;

 private:
  nn::Model& model_;
  GenerationOptions options_;
};

}  // namespace lora::generate
