// Runs of lora-train on the whole network of a pipeline: results equal to diffusers', and the pipeline that they write.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "lora/base/file.h"
#include "pipeline_case.h"
#include "process.h"
#include "support/paths.h"
#include "tensor_file.h"

namespace lora::test {
namespace {

using ::testing::HasSubstr;

/// The values of a BF16 tensor.
std::vector<float> widened(const StoredTensor& tensor) {
  std::vector<float> values(tensor.bytes.size() / 2);
  for (size_t i = 0; i < values.size(); ++i) {
    std::memcpy(reinterpret_cast<char*>(&values[i]) + 2, tensor.bytes.data() + 2 * i, 2);
  }
  return values;
}

TEST(DenoisingWholeNetwork, EqualsDiffusers) {
  const PipelineCase own("sd1");
  const Outcome outcome = own.train("full");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  expect_reference_steps(own, "full");
  const Json expected = Json::parse(read_text(own / "expected_full.json"));
  const size_t stride = expected["stride"].get<size_t>();
  const std::vector<float> values = stored_tensors(own.scratch / "sd1").at("trained").values();
  size_t place = 0, numbers = 0;
  for (const auto& [name, tensor] : stored_tensors(own / "out/unet")) {
    const std::vector<float> found = tensor.values();
    for (size_t i = 0; i < found.size() && place < values.size(); i += stride, ++place) {
      EXPECT_NEAR(found[i], values[place], 1e-5 * largest_value(tensor)) << name << "[" << i << "]";
    }
    numbers += found.size();
  }
  EXPECT_EQ(place, values.size());
  EXPECT_EQ(numbers, expected["num_trainable"]);
}

TEST(DenoisingWholeNetwork, WritesAPipeline) {
  const PipelineCase own("sd1");
  write_rows_to_draw_for(own);
  const Arguments full{"--set", "adapter=null", "--set", "data.train.0.path=drawn.jsonl", "--set", "training.max_steps=6",
                       "--set", "training.learning_rate=1e-4"};
  const auto run = [&](const Arguments& more) { return own.train("attention", with(full, more)); };
  const Outcome whole = run({"--set", "output_dir=whole"});
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  EXPECT_THAT(whole.err, HasSubstr("lora-generate --image"));
  ASSERT_EQ(run({"--set", "output_dir=parts", "--set", "training.save_steps=3"}).exit_code, 0);
  EXPECT_FALSE(fs::exists(own / "parts/checkpoint-3/vae"));
  const std::string checkpoint = (own / "parts/checkpoint-3").string();
  const Outcome resumed = run({"--set", "output_dir=rest", "--set", "training.save_steps=3", "--resume", checkpoint});
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  const std::string weights = "unet/diffusion_pytorch_model.safetensors";
  EXPECT_EQ(read_text(own / ("rest/" + weights)), read_text(own / ("whole/" + weights)));
  EXPECT_NE(read_text(own / ("whole/" + weights)), read_text(own / ("model/" + weights)));
  EXPECT_EQ(read_text(own / "whole/tokenizer/vocab.json"), read_text(own / "model/tokenizer/vocab.json"));
  const Outcome again = own.train("attention", {"--set", "model.path=whole", "--set", "training.max_steps=1", "--set",
                                                "adapter.init_from=null"});
  EXPECT_EQ(again.exit_code, 0) << "the result is a base: " << again.err;
  EXPECT_EQ(run({"--set", "output_dir=whole"}).exit_code, 0) << "a finished run is left alone";

  fs::remove(own / ("model/" + weights));
  const Outcome random = run({"--set", "output_dir=random", "--set", "model.from_scratch=true"});
  ASSERT_EQ(random.exit_code, 0) << random.err;
  EXPECT_THAT(random.err, HasSubstr("random weights"));
  EXPECT_GT(read_rows(own / "random/metrics.jsonl")[0]["loss"].get<double>(), 0);
  fs::copy_file(kData / "diffusion/sd1/model" / weights, own / ("model/" + weights));

  const Outcome some = run({"--set", "output_dir=some", "--set", "training.train_parameters=[\"attn2\"]"});
  ASSERT_EQ(some.exit_code, 0) << some.err;
  const auto before = stored_tensors(own / "model/unet"), after = stored_tensors(own / "some/unet");
  ASSERT_EQ(before.size(), after.size());
  for (const auto& [name, tensor] : after) {
    const bool is_trained = name.find("attn2") != std::string::npos;
    EXPECT_EQ(tensor.values() != widened(before.at(name)), is_trained) << name;
  }
}

}  // namespace
}  // namespace lora::test
