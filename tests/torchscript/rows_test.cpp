// Networks that take whole rows, compared with an explicit LoRA in eager Python (scripts/golden/torchscript_rows.py).
#include "row_run.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"

namespace lora::test {
namespace {

/// Keeps the report of each step.
class RowSteps : public train::Hook {
 public:
  bool on_step(const train::StepReport& report, train::TrainerState&) override {
    reports.push_back(report);
    return false;
  }
  std::vector<train::StepReport> reports;
};

std::vector<std::string> row_case_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kScripts / "row_runs")) {
    if (entry.is_directory()) {
      names.push_back(entry.path().filename().string());
    }
  }
  return names;
}

void expect_evaluation(const train::EvalResult& found, const Json& expected) {
  EXPECT_NEAR(found.loss, expected["eval_loss"].get<double>(), 1e-5);
  for (const auto& [name, value] : expected.items()) {
    const auto metric = std::find_if(found.metrics.begin(), found.metrics.end(), [&](const auto& own) { return own.first == name; });
    if (name != "eval_loss") {
      ASSERT_NE(metric, found.metrics.end()) << name;
      EXPECT_NEAR(metric->second, value.get<double>(), 1e-5) << name;
    }
  }
}

class RowTraining : public testing::TestWithParam<std::string> {};

TEST_P(RowTraining, EqualsExplicitLora) {
  RowRun run(GetParam());
  const Json expected = read_json(run.folder / "expected.json", ErrorKind::kData);
  const io::SafetensorsFile tensors(run.folder / "expected.safetensors");
  expect_evaluation(run.objective->evaluate(), expected["start"]);

  run.first_loss().backward();
  for (const nn::Parameter& parameter : run.method->parameters()) {
    expect_near(parameter.tensor.grad(), tensors.tensor("grad." + parameter.name), 1e-5, "grad of " + parameter.name);
    parameter.tensor.mutable_grad() = Tensor();
  }

  RowSteps steps;
  run.train({&steps});
  ASSERT_EQ(steps.reports.size(), expected["steps"].size());
  for (size_t i = 0; i < steps.reports.size(); ++i) {
    EXPECT_NEAR(steps.reports[i].loss, expected["steps"][i]["loss"].get<double>(), 1e-5) << "step " << i + 1;
    EXPECT_NEAR(steps.reports[i].grad_norm, expected["steps"][i]["grad_norm"].get<double>(), 1e-5) << "step " << i + 1;
  }
  for (const nn::Parameter& parameter : run.method->parameters()) {
    expect_close(parameter.tensor, tensors.tensor("trained." + parameter.name), 1e-5, parameter.name);
  }
  expect_evaluation(run.objective->evaluate(), expected["end"]);
}

/// Expects the losses and norms of batches of 4 from batches of other sizes.
void expect_same_steps(const std::string& name, const std::vector<std::string>& settings) {
  const auto run = [&](int64_t size, int64_t times) {
    std::vector<std::string> all = settings;
    all.insert(all.end(), {"training.max_steps=5", "training.per_device_train_batch_size=" + std::to_string(size),
                           "training.gradient_accumulation_steps=" + std::to_string(times)});
    RowSteps steps;
    RowRun(name, all).train({&steps});
    return steps.reports;
  };
  const std::vector<train::StepReport> whole = run(4, 1);
  for (const auto& [size, times] : {std::pair(2, 2), std::pair(1, 4)}) {
    const std::vector<train::StepReport> split = run(size, times);
    ASSERT_EQ(split.size(), whole.size());
    for (size_t i = 0; i < split.size(); ++i) {
      EXPECT_NEAR(split[i].loss, whole[i].loss, 1e-5) << size << " rows a batch, step " << i + 1;
      EXPECT_NEAR(split[i].grad_norm, whole[i].grad_norm, 1e-5) << size << " rows a batch, step " << i + 1;
    }
  }
}

TEST_P(RowTraining, AStepIsTheSameHoweverItIsSplit) {
  expect_same_steps(GetParam(), {"adapter.lora_dropout=0.3"});
}

INSTANTIATE_TEST_SUITE_P(Cases, RowTraining, testing::ValuesIn(row_case_names()), [](const auto& info) { return info.param; });

TEST(RowModels, ALossIsAMeanOverRowsOrOverTokens) {
  EXPECT_EQ(RowRun("perceptron_loss").network().loss_mean(), nn::LossMean::kRows);
  EXPECT_EQ(RowRun("autoencoder").network().loss_mean(), nn::LossMean::kRows);
  EXPECT_EQ(RowRun("masked_loss").network().loss_mean(), nn::LossMean::kTokens);
}

TEST(RowModels, DropoutOfTheModuleIsDrawnByRow) {
  const std::string module = (kScripts / "modules" / "vision_dropout.pt").string();
  expect_same_steps("vision", {"model.path=" + module, "adapter.init_from=null"});
  RowSteps with, without;
  RowRun("vision", {"model.path=" + module, "adapter.init_from=null", "training.max_steps=1"}).train({&with});
  RowRun("vision", {"model.path=" + module, "adapter.init_from=null", "training.max_steps=1", "model.base_dropout=0"}).train({&without});
  EXPECT_GT(std::abs(with.reports.front().loss - without.reports.front().loss), 1e-4);
}

TEST(RowModels, DropoutIsDrawnByRowIfPositionsComeFirst) {
  TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 24; ++i) {
    text += "{\"features\": [";
    for (int place = 0; place < 4; ++place) {  // as many as rows in a batch, so that sizes alone are ambiguous
      text += place == 0 ? "[" : ", [";
      for (int k = 0; k < 6; ++k) {
        text += (k == 0 ? "" : ", ") + std::to_string((7 * i + 5 * k + 3 * place + i * k) % 11 - 5);
      }
      text += "]";
    }
    text += "], \"target\": " + std::to_string(i % 5) + ".5}\n";
  }
  const std::string rows = "[{\"path\": \"" + folder.write("rows.jsonl", text).string() + "\", \"format\": \"features\"}]";
  const std::vector<std::string> settings{"model.path=" + (kScripts / "modules" / "places_first.pt").string(), "adapter.init_from=null",
                                          "adapter.target_modules=[\"first\", \"out\"]", "data.train=" + rows, "data.eval=" + rows};
  for (const char* dropout : {"adapter.lora_dropout=0", "adapter.lora_dropout=0.5"}) {
    std::vector<std::string> all = settings;
    all.emplace_back(dropout);
    expect_same_steps("perceptron", all);
  }
}

TEST(RowModels, OutputsAreCounted) {
  EXPECT_EQ(RowRun("perceptron_two").network().num_outputs(), 2);
  EXPECT_EQ(RowRun("vision").network().num_outputs(), 3);
}

TEST(RowModels, MemoryIsEstimatedFromTheRowsWithinTheNetwork) {
  // Each layer's linear operations have five positions per row, the head one.
  const int64_t layer = 4 * (16 + 16) + 2 * (16 + 32), elements = 2 * 5 * layer + 16 + 3;
  EXPECT_EQ(RowRun("vision").base.model->body->pass_memory(nn::Recompute::kNothing).kept, 2 * elements * 4);
}

}  // namespace
}  // namespace lora::test
