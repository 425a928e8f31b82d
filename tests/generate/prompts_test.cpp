// Generation with virtual tokens: the cache gives what reading everything again would.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "lora/generate/generator.h"
#include "lora/nn/pass.h"
#include "lora/peft/method.h"
#include "support/completions.h"
#include "support/tiny_llama.h"

namespace lora::generate {
namespace {

/// The most likely next token after these, without a cache.
int32_t next_token(const nn::Model& model, const std::vector<int32_t>& ids) {
  const at::NoGradGuard no_grad;
  const nn::Pass pass = nn::evaluation_pass(nn::make_token_batch({{&ids, nullptr, 0}})).with_virtual_tokens(model.body->virtual_tokens());
  const at::Tensor last_D = model.body->hidden(pass).slice(0, -1);
  return static_cast<int32_t>(model.tokens->logits(last_D, pass).argmax().item<int64_t>());
}

TEST(VirtualTokens, ComeOnceBeforeEachPrompt) {
  peft::PrefixOptions prefix;
  peft::PromptTuningOptions prompt;
  peft::PTuningOptions p_tuning;
  prefix.num_virtual_tokens = prompt.num_virtual_tokens = p_tuning.num_virtual_tokens = 4;
  const std::vector<std::vector<int32_t>> prompts{{7}, {3, 9, 21, 4, 40}, {11, 2}};
  GenerationOptions greedy;
  greedy.max_new_tokens = 8;
  std::vector<std::vector<int32_t>> of_methods;
  for (const peft::MethodOptions& options : std::vector<peft::MethodOptions>{prefix, prompt, p_tuning}) {
    const models::BaseModel base = test::tiny_llama();
    const auto method = peft::attach_adapter(options, *base.model, "base", 1);
    const std::vector<Completion> completions = test::complete(*base.model, greedy, prompts);
    for (size_t i = 0; i < prompts.size(); ++i) {
      std::vector<int32_t> ids = prompts[i];
      for (const int32_t id : completions[i].ids) {
        EXPECT_EQ(id, next_token(*base.model, ids)) << method->name() << " " << i;
        ids.push_back(id);
      }
    }
    of_methods.push_back(completions[1].ids);
  }
  EXPECT_NE(of_methods[0], of_methods[1]);
}

}  // namespace
}  // namespace lora::generate
