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
  int64_t index = 0;                  ///< its number among all prompts: with the seed, the key of its random numbers
  std::vector<int32_t> eos_ids = {};  ///< tokens that end its completion, beside the options'
};

/// Why a completion ended.
enum class FinishReason { kEos, kStop, kLength };
inline constexpr EnumTable<FinishReason, 3> kFinishReasons{
    {{{FinishReason::kEos, "eos"}, {FinishReason::kStop, "stop"}, {FinishReason::kLength, "length"}}}};

struct Completion {
  std::vector<int32_t> ids;  ///< the new tokens, an EOS included
  FinishReason reason = FinishReason::kLength;
};

/// What is told while prompts are completed; prompts are named by their place in the batch.
struct Listener {
  /// A new token that is no EOS. False: it is enough (a stop string).
  std::function<bool(size_t prompt, int32_t id)> on_token;
  /// A prompt is done, while others may go on.
  std::function<void(size_t prompt, const Completion& completion)> on_finish;
};

/// Completes prompts with a model as it stands, with the adapter in use, dropout off.
class Generator {
 public:
  /// Throws what check_options throws.
  Generator(nn::Model& model, GenerationOptions options);

  /// Completes `prompts` (each of one id at least) together: one packed pass over the prompts, then a token a prompt and
  /// pass; a prompt that is done leaves the batch. What a prompt gets does not depend on those beside it, but for the last
  /// bits of the arithmetic. Throws Interrupted between tokens, and model Error for logits that are not finite.
  void complete(const std::vector<Prompt>& prompts, const Listener& listener) const;

 private:
  nn::Model& model_;
  GenerationOptions options_;
};

}  // namespace lora::generate
