#pragma once
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "support/golden_run.h"

namespace lora::train {

/// Every example of a set in one batch.
inline nn::Batch one_batch(const data::Dataset& set) {
  std::vector<int64_t> all(set.examples.size());
  std::iota(all.begin(), all.end(), 0);
  return data::make_batch(set, all);
}

/// The loss of each held-out document; for token prediction they are computed in one batch.
inline std::vector<double> losses_of(test::GoldenRun& run) {
  if (!run.labels) {
    return test::document_losses(run.model(), one_batch(run.eval_set));
  }
  std::vector<double> losses;
  for (int64_t d = 0; d < static_cast<int64_t>(run.eval_set.examples.size()); ++d) {
    LabelTally tally(run.labels->is_regression);
    const nn::Batch batch = data::make_batch(run.eval_set, {d});
    tally.add(row_outputs(run.model(), batch), targets_of(run.eval_set, batch));
    losses.push_back(tally.result().loss);
  }
  return losses;
}

inline void expect_document_losses(test::GoldenRun& run, const Json& expected, const std::string& what) {
  const std::vector<double> losses = losses_of(run);
  ASSERT_EQ(losses.size(), expected.size());
  for (size_t d = 0; d < losses.size(); ++d) {
    const double loss = expected[d]["loss"].get<double>();
    EXPECT_NEAR(losses[d], loss, 1e-5 * loss) << what << " of document " << d;
    const data::Example& example = run.eval_set.examples[d];
    const int64_t first = run.model().body->virtual_tokens() > 0 ? example.num_first_supervised() : 0;
    EXPECT_EQ(example.num_supervised() + first, expected[d]["num_tokens"].get<int64_t>());
  }
}

/// Trains, and compares every step, every evaluation and the documents' losses at the end.
inline void expect_training(test::GoldenRun& run) {
  test::CollectingSink steps, evaluations;
  LoggingHook logging(1, {&steps}, [] { return int64_t{0}; });
  EvaluationHook evaluation(*run.objective, {eval_interval(run.training, /*total_steps=*/0), false, std::nullopt}, {&evaluations});
  TrainerState state;
  run.run(state, {&logging, &evaluation});

  const Json expected = run.golden.expected();
  const auto expect_relative = [](const Json& actual, const Json& step, const char* key, double tolerance) {
    const double value = step[key].get<double>();
    EXPECT_NEAR(actual[key].get<double>(), value, tolerance * std::abs(value)) << key << " of step " << step["step"];
  };
  ASSERT_EQ(steps.rows.size(), expected["steps"].size());
  for (size_t i = 0; i < steps.rows.size(); ++i) {
    const Json& step = expected["steps"][i];
    expect_relative(steps.rows[i], step, "loss", 1e-5);
    expect_relative(steps.rows[i], step, "learning_rate", 1e-5);
    expect_relative(steps.rows[i], step, "grad_norm", 2e-4);
    EXPECT_EQ(steps.rows[i]["num_tokens"], step["num_tokens"]);
    EXPECT_EQ(steps.rows[i]["num_input_tokens"], step["num_input_tokens"]);
  }
  ASSERT_EQ(evaluations.rows.size(), expected["eval"].size());
  for (size_t i = 0; i < evaluations.rows.size(); ++i) {
    EXPECT_EQ(evaluations.rows[i]["step"], expected["eval"][i]["step"]);
    for (const auto& [key, value] : expected["eval"][i].items()) {
      EXPECT_TRUE(key == "step" || evaluations.rows[i].contains(key)) << key;
      expect_relative(evaluations.rows[i], expected["eval"][i], key.c_str(), 1e-5);
    }
  }
  expect_document_losses(run, expected["documents"], "loss");
}

}  // namespace lora::train
