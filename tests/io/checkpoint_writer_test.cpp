#include "lora/io/checkpoint_writer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/base/json.h"
#include "lora/io/tensors.h"
#include "lora/io/checkpoint.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora::io {
namespace {

using lora::test::expect_error;
using lora::test::files_in;
using lora::test::TemporaryFolder;

constexpr int64_t kLarge = 1 << 20;

/// A tensor that is produced one row at a time.
TensorStream by_rows(const std::string& name, const Tensor& tensor) {
  return {name, tensor.scalar_type(), tensor.sizes().vec(), [tensor](const auto& append) {
            for (const Tensor& row : tensor.unbind(0)) {
              append(row);
            }
          }};
}

TEST(CheckpointWriter, WritesOneFileOrShardsThatAreReadBack) {
  const std::vector<std::pair<std::string, Tensor>> tensors = {{"z", at::arange(24, at::kFloat).view({4, 6}).t()},
                                                               {"b", at::ones({3}, at::kBFloat16)},
                                                               {"a", at::arange(10, at::kDouble).view({5, 2})},
                                                               {"i", at::arange(4, at::kLong)}};
  std::vector<TensorStream> streams;
  for (const auto& [name, tensor] : tensors) {
    streams.push_back(by_rows(name, tensor));
  }
  const TemporaryFolder one, several;
  write_checkpoint(one.path(), streams, kLarge);
  EXPECT_EQ(files_in(one.path()), std::vector<std::string>{"model.safetensors"});
  // 96 + 6 bytes fit into 110. a's 80 bytes do not fit with them, and i's 32 bytes no longer fit into the next shard with a.
  write_checkpoint(several.path(), streams, 110);
  EXPECT_EQ(files_in(several.path()), (std::vector<std::string>{"model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
                                                                "model-00003-of-00003.safetensors", "model.safetensors.index.json"}));
  const Json index = read_json(several / "model.safetensors.index.json", ErrorKind::kModel);
  EXPECT_EQ(index["metadata"], Json::parse(R"({"total_parameters": 41, "total_size": 214})"));
  EXPECT_EQ(index["weight_map"], Json::parse(R"({"a": "model-00002-of-00003.safetensors", "b": "model-00001-of-00003.safetensors",
                                                 "i": "model-00003-of-00003.safetensors", "z": "model-00001-of-00003.safetensors"})"));
  for (const TemporaryFolder* folder : {&one, &several}) {
    const SafetensorsCheckpoint source(folder->path());
    EXPECT_EQ(source.names().size(), tensors.size());
    for (const auto& [name, tensor] : tensors) {
      EXPECT_TRUE(at::equal(source.tensor(name), tensor)) << name;
      source.release(name);
      EXPECT_TRUE(at::equal(source.tensor(name), tensor)) << name;  // read back from the file
    }
  }
  // Shard by shard in the order of the index, and within each shard by offset.
  EXPECT_EQ(SafetensorsCheckpoint(several.path()).names(), (std::vector<std::string>{"a", "z", "b", "i"}));
}

TEST(CheckpointWriter, TensorLargerThanAShardStandsAlone) {
  const TemporaryFolder folder;
  write_checkpoint(folder.path(), {by_rows("s", at::ones({1})), by_rows("l", at::ones({50})), by_rows("t", at::ones({1}))}, 8);
  EXPECT_EQ(files_in(folder.path()).size(), 4U);
  EXPECT_EQ(SafetensorsFile(folder / "model-00002-of-00003.safetensors").names(), std::vector<std::string>{"l"});
}

TEST(CheckpointWriter, RefusesWhatIsNotAsAnnounced) {
  const TemporaryFolder folder;
  TensorStream few = by_rows("few", at::ones({3}));
  few.shape = {4};
  expect_error(ErrorKind::kOutput, {"model.safetensors", "'few'", "found 12 bytes, expected 16"},
               [&] { write_checkpoint(folder.path(), {few}, kLarge); });
  expect_error(ErrorKind::kOutput, {"'complex'", "ComplexFloat"},
               [&] { write_checkpoint(folder.path(), {by_rows("complex", at::ones({1}, at::kComplexFloat))}, kLarge); });
  EXPECT_TRUE(files_in(folder.path()).empty());
}

}  // namespace
}  // namespace lora::io
