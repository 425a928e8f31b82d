// Methods other than LoRA in the programs: trained, resumed, inspected, merged, converted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "golden_case.h"

namespace lora::test {
namespace {

using ::testing::HasSubstr;

struct MethodCase {
  const char* name;
  const char* shown;    ///< by lora-inspect
  const char* refusal;  ///< by lora-merge; "": it merges
};

/// One case of each kind of file.
const std::vector<MethodCase> kMethodCases{{"vera", "vera_lambda_d", ""},
                                           {"bitfit", "q_proj.bias", ""},
                                           {"trained_tokens", "rows [9,2,33]", ""},
                                           {"prefix_projection", "prompt_embeddings", "adds keys and values to attention"}};

TEST(OtherMethods, AResumedRunGivesTheSameBits) {
  const TemporaryFolder scratch;
  for (const std::string name : {"vera", "trained_tokens", "prefix_projection"}) {
    SCOPED_TRACE(name);
    const GoldenCase golden(name);
    const fs::path whole = scratch / name, resumed = scratch / (name + "_resumed");
    const Outcome outcome = train_golden(golden, whole);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const Outcome again = train_golden(golden, resumed, {"--resume", (whole / "checkpoint-9").string()});
    ASSERT_EQ(again.exit_code, 0) << again.err;
    EXPECT_EQ(result_hash(resumed), result_hash(whole));
  }
}

/// The mean loss of a case's held-out rows, all of one weight for each token, before training.
double start_loss(const GoldenCase& golden) {
  double sum = 0, tokens = 0;
  const Json expected = read_json(golden.folder / "expected.json", ErrorKind::kData);
  for (const Json& document : expected["start_documents"]) {
    const auto count = document["num_tokens"].get<double>();
    sum += document["loss"].get<double>() * count;
    tokens += count;
  }
  return sum / tokens;
}

double evaluated_loss(const GoldenCase& golden, const Arguments& model) {
  const Json rows = golden.run()["data"]["eval"][0];
  const Outcome outcome = run_tool(with({"lora-eval", "--data", (golden.folder / rows["path"].get<std::string>()).string(), "--format",
                                         rows["format"].get<std::string>(), "--dtype", "float32", "--json"},
                                        model));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return Json::parse(outcome.out)["loss"].get<double>();
}

TEST(OtherMethods, AreInspectedMergedAndNotConverted) {
  const TemporaryFolder scratch;
  for (const MethodCase& method : kMethodCases) {
    SCOPED_TRACE(method.name);
    const GoldenCase golden(method.name);
    const std::string adapter = (golden.folder / "adapter").string();
    const Outcome shown = run_tool({"lora-inspect", adapter});
    ASSERT_EQ(shown.exit_code, 0) << shown.err;
    EXPECT_THAT(shown.out, HasSubstr(method.shown));
    const Outcome merged =
        run_tool({"lora-merge", "--model", golden.model(), "--adapter", adapter, "--output", (scratch / method.name).string()});
    if (method.refusal[0] == '\0') {
      ASSERT_EQ(merged.exit_code, 0) << merged.err;
      EXPECT_NEAR(evaluated_loss(golden, {"--model", (scratch / method.name).string()}), start_loss(golden), 1e-5);
    } else {
      EXPECT_EQ(merged.exit_code, 4);
      EXPECT_THAT(merged.err, HasSubstr(method.refusal));
      EXPECT_NEAR(evaluated_loss(golden, {"--model", golden.model(), "--adapter", adapter}), start_loss(golden), 1e-5);
    }
    const Outcome converted =
        run_tool({"lora-convert", "--adapter", adapter, "--to", "mlx", "--output", (scratch / "converted").string()});
    EXPECT_EQ(converted.exit_code, 4) << converted.err;
  }
}

}  // namespace
}  // namespace lora::test
