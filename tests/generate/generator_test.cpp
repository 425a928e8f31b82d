#include "lora/generate/generator.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <set>

#include "lora/base/interrupt.h"
#include "support/completions.h"
#include "support/expect_error.h"
#include "support/tiny_llama.h"

namespace lora::generate {
namespace {

using testing::ElementsAre;
using Ids = std::vector<int32_t>;

const std::vector<Ids> kPrompts{{7}, {3, 9, 21, 4, 40}, {11, 2}, {30, 30, 1, 5, 6, 8, 9, 10, 12}};

GenerationOptions sampling(uint64_t seed = 42) {
  GenerationOptions options;
  options.max_new_tokens = 12;
  options.temperature = 1.0;
  options.top_p = 0.95;
  options.seed = seed;
  return options;
}

std::vector<Ids> ids_of(const std::vector<Completion>& completions) {
  std::vector<Ids> all;
  for (const Completion& completion : completions) {
    all.push_back(completion.ids);
  }
  return all;
}

TEST(Generator, ASeedGivesTheSameTokensInBatchesOfOneAndFour) {
  const models::BaseModel base = test::tiny_llama();
  const std::vector<Ids> together = ids_of(test::complete(*base.model, sampling(), kPrompts));
  for (size_t i = 0; i < kPrompts.size(); ++i) {
    EXPECT_EQ(test::complete(*base.model, sampling(), {kPrompts[i]}, {static_cast<int64_t>(i)})[0].ids, together[i]) << i;
  }
  EXPECT_EQ(ids_of(test::complete(*base.model, sampling(), kPrompts)), together);
  EXPECT_NE(ids_of(test::complete(*base.model, sampling(43), kPrompts)), together);
  // The same prompt with two indices is sampled independently.
  const std::vector<Ids> twice = ids_of(test::complete(*base.model, sampling(), {kPrompts[0], kPrompts[0]}));
  EXPECT_NE(twice[0], twice[1]);
  EXPECT_EQ(twice[0], together[0]);
}

TEST(Generator, SamplesAreIndependentOfPositionAndWithinTopK) {
  const models::BaseModel base = test::tiny_llama();
  GenerationOptions options = sampling();
  options.temperature = 100.0;  // all tokens are nearly equally likely
  options.top_p = 1.0;
  options.max_new_tokens = 200;
  const Ids ids = test::complete(*base.model, options, {{7}})[0].ids;
  EXPECT_GT(std::set<int32_t>(ids.begin(), ids.end()).size(), 40U);
  options.top_k = 1;
  GenerationOptions greedy;
  greedy.max_new_tokens = 200;
  EXPECT_EQ(test::complete(*base.model, options, {{7}})[0].ids, test::complete(*base.model, greedy, {{7}})[0].ids);
}

TEST(Generator, PromptsEndIndependently) {
  const models::BaseModel base = test::tiny_llama();
  GenerationOptions options;
  options.max_new_tokens = 8;
  const std::vector<Ids> whole = ids_of(test::complete(*base.model, options, kPrompts));
  // The EOS is the third new token of the second prompt.
  options.eos_ids = {-1, whole[1][2]};
  std::vector<size_t> finished;
  std::vector<Ids> told(kPrompts.size());
  std::vector<Completion> completions(kPrompts.size());
  std::vector<Prompt> prompts;
  for (size_t i = 0; i < kPrompts.size(); ++i) {
    prompts.push_back({kPrompts[i], static_cast<int64_t>(i)});
  }
  const Listener listener{[&told](size_t i, int32_t id) {
                            told[i].push_back(id);
                            return i != 3 || told[i].size() < 2;  // stops the last prompt after two
                          },
                          [&](size_t i, const Completion& completion) {
                            finished.push_back(i);
                            completions[i] = completion;
                          }};
  Generator(*base.model, options).complete(prompts, listener);
  for (size_t i = 0; i < kPrompts.size(); ++i) {
    Ids expected = whole[i];
    const auto eos = std::find(expected.begin(), expected.end(), options.eos_ids[1]);
    FinishReason reason = eos == expected.end() ? FinishReason::kLength : FinishReason::kEos;
    expected.erase(eos == expected.end() ? eos : eos + 1, expected.end());
    if (i == 3 && expected.size() > 2) {
      expected.resize(2);
      reason = FinishReason::kStop;
    }
    EXPECT_EQ(completions[i].ids, expected) << i;
    EXPECT_EQ(completions[i].reason, reason) << i;
    if (reason == FinishReason::kEos) {
      expected.pop_back();  // an EOS has no text
    }
    EXPECT_EQ(told[i], expected) << i;
  }
  EXPECT_EQ(completions[1].reason, FinishReason::kEos);
  EXPECT_EQ(finished.size(), 4U);
  EXPECT_NE(finished, (std::vector<size_t>{0, 1, 2, 3}));  // in the order in which they finish
}

TEST(Generator, OneTokenIsEnough) {
  const models::BaseModel base = test::tiny_llama();
  GenerationOptions options;
  options.max_new_tokens = 1;
  EXPECT_EQ(test::complete(*base.model, options, kPrompts)[2].ids.size(), 1U);
}

TEST(Generator, DecodesInHalfPrecision) {
  const models::BaseModel base = test::tiny_llama({{"torch_dtype", "bfloat16"}});
  ASSERT_EQ(base.model->dtype(), at::kBFloat16);
  const std::vector<Completion> together = test::complete(*base.model, sampling(), kPrompts);
  EXPECT_EQ(together[1].ids.size(), 12U);
}

TEST(Generator, NonFiniteLogitsAreAnError) {
  const models::BaseModel base = test::tiny_llama();
  base.model->head()->weight().fill_(std::numeric_limits<double>::infinity());
  test::expect_error(ErrorKind::kModel, {"logits", "not finite", "--dtype"}, [&base] { test::complete(*base.model, {}, {{7}}); });
}

TEST(Generator, StopsBetweenTokensOnASignal) {
  const auto interrupted_at_third_token = [] {
    const models::BaseModel base = test::tiny_llama();
    install_interrupt_handlers();
    int tokens = 0;
    bool finished = false;
    const Listener listener{[&tokens](size_t, int32_t) {
                              if (++tokens == 3) {
                                raise(SIGINT);
                              }
                              return true;
                            },
                            [&finished](size_t, const Completion&) { finished = true; }};
    try {
      Generator(*base.model, {}).complete({{{7}, 0}}, listener);
    } catch (const Interrupted&) {
      _exit(tokens == 3 && !finished ? 30 : 31);
    }
    _exit(32);
  };
  // In a separate process, because the signal remains set in the process.
  EXPECT_EXIT(interrupted_at_third_token(), testing::ExitedWithCode(30), "");
}

}  // namespace
}  // namespace lora::generate
