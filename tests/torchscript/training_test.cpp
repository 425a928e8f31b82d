// Runs on TorchScript modules, compared with an explicit LoRA on the same networks in eager Python (scripts/golden/torchscript.py).
#include <algorithm>

#include "script_run.h"
#include "support/tensors.h"

namespace lora::test {
namespace {

/// Keeps the report of each step.
class Steps : public train::Hook {
 public:
  bool on_step(const train::StepReport& report, train::TrainerState&) override {
    reports.push_back(report);
    return false;
  }
  std::vector<train::StepReport> reports;
};

std::vector<std::string> case_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kScripts / "runs")) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

constexpr double kFloat = 1e-5;
/// Tolerance of gradient norms: the reference itself differs by 1.6e-5 between processors (llama_traced, step 16).
constexpr double kGradNorm = 1e-4;
constexpr double kBFloat16 = 1.0 / 256;  ///< its last bit

class ScriptTraining : public testing::TestWithParam<std::string> {};

TEST_P(ScriptTraining, EqualsExplicitLora) {
  ScriptRun run(GetParam());
  const Json expected = read_json(run.folder / "expected.json", ErrorKind::kData);
  const io::SafetensorsFile tensors(run.folder / "expected.safetensors");
  const double tolerance = run.base.model->dtype() == at::kBFloat16 || GetParam() == "autocast_traced" ? kBFloat16 : kFloat;

  ASSERT_EQ(run.eval_set.examples.size(), expected["start_documents"].size());
  for (size_t i = 0; i < run.eval_set.examples.size(); ++i) {
    const nn::Batch batch = data::make_batch(run.eval_set, {static_cast<int64_t>(i)});
    EXPECT_NEAR(document_losses(*run.base.model, batch).front(), expected["start_documents"][i].get<double>(), tolerance)
        << "document " << i;
  }

  const train::MicroBatch first = run.objective->plan_epoch(0).front();
  (run.objective->loss_sum(first, 0) / run.objective->size(first).supervised).backward();
  for (const nn::Parameter& parameter : run.method->parameters()) {
    expect_near(parameter.tensor.grad(), tensors.tensor("grad." + parameter.name), tolerance, "grad of " + parameter.name);
    parameter.tensor.mutable_grad() = Tensor();
  }

  Steps steps;
  run.train({&steps});
  ASSERT_EQ(steps.reports.size(), expected["steps"].size());
  for (size_t i = 0; i < steps.reports.size(); ++i) {
    EXPECT_NEAR(steps.reports[i].loss, expected["steps"][i]["loss"].get<double>(), tolerance) << "step " << i + 1;
    EXPECT_NEAR(steps.reports[i].grad_norm, expected["steps"][i]["grad_norm"].get<double>(), std::max(tolerance, kGradNorm))
        << "step " << i + 1;
  }
  for (const nn::Parameter& parameter : run.method->parameters()) {
    expect_near(parameter.tensor, tensors.tensor("trained." + parameter.name), tolerance, parameter.name);
  }
  EXPECT_NEAR(run.objective->evaluate().loss, expected["eval_loss"].get<double>(), tolerance);
}

INSTANTIATE_TEST_SUITE_P(Cases, ScriptTraining, testing::ValuesIn(case_names()), [](const auto& info) { return info.param; });

}  // namespace
}  // namespace lora::test
