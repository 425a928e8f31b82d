// Bottleneck adapters and weights without an adapter in the programs: trained, resumed, evaluated, and what cannot be done with them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "golden_case.h"
#include "lora/base/file.h"
#include "support/paths.h"

namespace lora::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string hash_of(const fs::path& file) {
  return sha256_of_file(file, ErrorKind::kOutput);
}

TEST(Bottleneck, AResumedRunGivesTheSameBits) {
  const TemporaryFolder scratch;
  for (const char* name : {"seq_bert", "double_llama"}) {
    const GoldenCase golden(name);
    const fs::path whole = scratch / name, resumed = scratch / (std::string(name) + "_resumed");
    const Outcome outcome = train_golden(golden, whole, {"--set", "adapter.dropout=0.2"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("bottleneck adapter"), HasSubstr("model.load_adapter")));
    const Outcome again =
        train_golden(golden, resumed, {"--set", "adapter.dropout=0.2", "--resume", (whole / "checkpoint-9").string()});
    ASSERT_EQ(again.exit_code, 0) << again.err;
    EXPECT_EQ(hash_of(resumed / "adapter.safetensors"), hash_of(whole / "adapter.safetensors"));
    EXPECT_EQ(fs::exists(whole / "model_head.safetensors"), golden.folder.filename() == "seq_bert");
    EXPECT_THAT(train_golden(golden, whole, {"--set", "adapter.dropout=0.2"}).err, HasSubstr("already finished"));
  }
}

TEST(Bottleneck, LoraEvalReadsTheLibrarysFolders) {
  for (const char* name : {"seq_bert", "double_bert"}) {  // safetensors, and a file of torch.save
    const GoldenCase golden(name);
    const Json run = golden.run();
    const Json rows = run["data"]["eval"][0];
    const Outcome outcome =
        run_tool({"lora-eval", "--model", (golden.folder / run["model"]["path"].get<std::string>()).string(), "--adapter",
                  (golden.folder / "adapter").string(), "--data", (golden.folder / rows["path"].get<std::string>()).string(), "--format",
                  rows["format"].get<std::string>(), "--dtype", "float32", "--json"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    double sum = 0;
    const Json documents = read_json(golden.folder / "expected.json", ErrorKind::kData)["start_documents"];
    for (const Json& document : documents) {
      sum += document["loss"].get<double>();
    }
    EXPECT_NEAR(Json::parse(outcome.out)["loss"].get<double>(), sum / static_cast<double>(documents.size()), 1e-5) << name;
  }
}

TEST(Bottleneck, CannotBeMerged) {
  const GoldenCase golden("seq_llama");
  const TemporaryFolder scratch;
  const Outcome outcome =
      run_tool({"lora-merge", "--model", (golden.folder / "../../llama/tied/model").string(), "--adapter",
                (golden.folder / "adapter").string(), "--output", (scratch / "merged").string()});
  EXPECT_EQ(outcome.exit_code, 4);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("BOTTLENECK"), HasSubstr("layers that are not linear")));
}

TEST(TrainParameters, AResumedRunGivesTheSameBits) {
  const TemporaryFolder scratch;
  const GoldenCase golden("some_weights");
  const Outcome whole = train_golden(golden, scratch / "whole");
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  EXPECT_THAT(whole.err, AllOf(HasSubstr("fine-tuning of some weights"), HasSubstr("3,792 trainable of 8,976")));
  const Outcome resumed = train_golden(golden, scratch / "resumed", {"--resume", (scratch / "whole" / "checkpoint-9").string()});
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_EQ(hash_of(scratch / "resumed" / "model.safetensors"), hash_of(scratch / "whole" / "model.safetensors"));
  const Outcome none = train_golden(golden, scratch / "none", {"--set", "training.train_parameters=[\"q_porj\"]"});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_THAT(none.err, HasSubstr("[training.train_parameters] matches no weight: found 'q_porj'"));
}

}  // namespace
}  // namespace lora::test
