#include "lora/generate/logits.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "lora/base/json.h"
#include "lora/base/random.h"
#include "lora/io/tensors.h"
#include "support/expect_error.h"
#include "support/paths.h"
#include "support/tensors.h"

namespace lora::generate {
namespace {

using testing::ElementsAre;

GenerationOptions options_of(const Json& setting) {
  GenerationOptions options;
  options.temperature = setting.value("temperature", 0.0);
  options.top_k = setting.value("top_k", int64_t{0});
  options.top_p = setting.value("top_p", 1.0);
  options.min_p = setting.value("min_p", 0.0);
  options.repetition_penalty = setting.value("repetition_penalty", 1.0);
  require_valid_options(options);
  return options;
}

std::vector<const std::vector<int32_t>*> pointers(const std::vector<std::vector<int32_t>>& rows) {
  std::vector<const std::vector<int32_t>*> result;
  for (const auto& row : rows) {
    result.push_back(&row);
  }
  return result;
}

TEST(Logits, FilteredProbabilitiesEqualTransformers) {
  const io::SafetensorsFile golden(std::filesystem::path(lora::test::data_folder()) / "generate/sampling.safetensors");
  const Json settings = Json::parse(golden.metadata().at("settings"));
  const auto seen = Json::parse(golden.metadata().at("seen")).get<std::vector<std::vector<int32_t>>>();
  const Tensor logits = golden.tensor("logits");
  for (size_t i = 0; i < settings.size(); ++i) {
    const Tensor expected = golden.tensor("probabilities." + std::to_string(i));
    const Tensor processed = process_logits(logits, pointers(seen), options_of(settings[i]));
    const std::string what = settings[i].dump();
    test::expect_near(at::softmax(processed, -1), expected, 1e-6, what);
    test::expect_equal(at::softmax(processed, -1) == 0, expected == 0, what + ": what is filtered out");
  }
}

TEST(Logits, GreedyAppliesThePenaltyButNoFilter) {
  const Tensor logits = at::tensor({1.0F, 2.0F, -1.0F, 1.9F}).unsqueeze(0);
  const std::vector<std::vector<int32_t>> seen{{1, 2, 1}};
  GenerationOptions options;
  EXPECT_THAT(choose_greedily(process_logits(logits, pointers(seen), options)), ElementsAre(1));
  options.repetition_penalty = 2.0;
  const Tensor penalized = process_logits(logits, pointers(seen), options);
  test::expect_equal(penalized, at::tensor({1.0F, 1.0F, -2.0F, 1.9F}).unsqueeze(0));
  EXPECT_THAT(choose_greedily(penalized), ElementsAre(3));
  EXPECT_EQ(logits[0][1].item<float>(), 2.0F);  // the argument is unchanged
}

TEST(Logits, SamplesFollowTheProbabilitiesAndNeverIncludeFilteredTokens) {
  const double none = -std::numeric_limits<double>::infinity();
  const Tensor logits = at::tensor({none, std::log(0.2), std::log(0.5), none, std::log(0.3), none}).to(at::kFloat).unsqueeze(0);
  const auto at_draw = [&logits](double draw) { return choose_by_draw(logits, {draw}).front(); };
  EXPECT_EQ(at_draw(0.0), 1);
  EXPECT_EQ(at_draw(0.1999), 1);
  EXPECT_EQ(at_draw(0.2001), 2);
  EXPECT_EQ(at_draw(0.6999), 2);
  EXPECT_EQ(at_draw(0.7001), 4);
  EXPECT_EQ(at_draw(std::nextafter(1.0, 0.0)), 4);
  EXPECT_THAT(choose_by_draw(logits.expand({3, 6}), {0.9, 0.1, 0.5}), ElementsAre(4, 1, 2));

  CounterRandom random(7);
  std::vector<double> draws(20000);
  std::generate(draws.begin(), draws.end(), [&random] { return random.uniform(); });
  std::vector<double> share(6);
  for (const int32_t id : choose_by_draw(logits.expand({20000, 6}), draws)) {
    share[id] += 1.0 / 20000;
  }
  EXPECT_NEAR(share[1], 0.2, 0.02);
  EXPECT_NEAR(share[2], 0.5, 0.02);
  EXPECT_NEAR(share[4], 0.3, 0.02);
}

TEST(Options, ValuesOutOfRangeAndFiltersWithoutEffectAreErrors) {
  const auto expect_refused = [](const std::string& name, const std::string& found, const std::function<void(GenerationOptions&)>& change) {
    GenerationOptions options;
    options.temperature = 1.0;
    change(options);
    test::expect_error(ErrorKind::kConfig, {"[" + name + "]", found, "expected"}, [&options] { require_valid_options(options); });
  };
  expect_refused("temperature", "-1", [](GenerationOptions& o) { o.temperature = -1; });
  expect_refused("temperature", "1e-40", [](GenerationOptions& o) { o.temperature = 1e-40; });
  expect_refused("temperature", "null", [](GenerationOptions& o) { o.temperature = std::nan(""); });
  expect_refused("top_k", "-3", [](GenerationOptions& o) { o.top_k = -3; });
  expect_refused("top_p", "0", [](GenerationOptions& o) { o.top_p = 0; });
  expect_refused("top_p", "1.5", [](GenerationOptions& o) { o.top_p = 1.5; });
  expect_refused("min_p", "2", [](GenerationOptions& o) { o.min_p = 2; });
  expect_refused("repetition_penalty", "0", [](GenerationOptions& o) { o.repetition_penalty = 0; });
  expect_refused("max_new_tokens", "0", [](GenerationOptions& o) { o.max_new_tokens = 0; });
  expect_refused("stop", "empty", [](GenerationOptions& o) { o.stop = {"\n", ""}; });
  GenerationOptions greedy;
  require_valid_options(greedy);
  for (const char* filter : {R"({"top_k": 5})", R"({"top_p": 0.9})", R"({"min_p": 0.1})"}) {
    test::expect_error(ErrorKind::kConfig, {"temperature 0"}, [filter] { options_of(Json::parse(filter)); });
  }
}

}  // namespace
}  // namespace lora::generate
