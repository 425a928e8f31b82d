// lora-merge into a single-file checkpoint of a text-to-image pipeline.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/app/merge_command.h"
#include "lora/io/safetensors.h"
#include "support/expect_error.h"
#include "support/pipeline_files.h"

namespace lora::app {
namespace {

namespace fs = std::filesystem;
using lora::test::TemporaryFolder;

MergeRequest merge_of(const fs::path& model, const std::string& family, const fs::path& output) {
  MergeRequest request;
  request.model = model.string();
  request.adapters = {(lora::test::kData / "diffusion/lora" / family / "peft").string()};
  request.output = output;
  return request;
}

TEST(MergeSingleFile, ChangesTheTensorsThatTheFolderOfTheSameMergeChanges) {
  for (const std::string family : {"sd1", "sd2", "sdxl"}) {
    SCOPED_TRACE(family);
    const TemporaryFolder folder;
    const fs::path file = lora::test::write_single_file(family, folder, {{"modelspec.title", "x"}, {"modelspec.hash_sha256", "y"}});
    ASSERT_EQ(merge_command(merge_of(file, family, folder / "merged.safetensors")), 0);
    ASSERT_EQ(merge_command(merge_of(lora::test::pipeline_folder(family), family, folder / "merged")), 0);
    const std::map<std::string, std::string> metadata = io::SafetensorsFile(folder / "merged.safetensors").metadata();
    EXPECT_EQ(metadata.count("modelspec.title"), 1U);
    EXPECT_EQ(metadata.count("modelspec.hash_sha256"), 0U);
    const diffusion::Pipeline base({file}), single({folder / "merged.safetensors"}), whole({folder / "merged"});
    std::vector<std::string> components = single.text_encoders();
    components.insert(components.end(), {diffusion::kUnet, diffusion::kVae});
    for (const std::string& component : components) {
      const auto before = base.weights(component), here = single.weights(component), there = whole.weights(component);
      int64_t changed = 0;
      for (const std::string& name : here->names()) {
        EXPECT_TRUE(at::equal(here->tensor(name), there->tensor(name))) << component << " " << name;
        changed += at::equal(here->tensor(name), before->tensor(name)) ? 0 : 1;
      }
      if (component == diffusion::kUnet) {
        EXPECT_GT(changed, 0);
      } else if (component == diffusion::kVae) {
        EXPECT_EQ(changed, 0);
      }
    }
  }
}

TEST(MergeSingleFile, IsUndoneAndRefused) {
  const TemporaryFolder folder;
  const fs::path file = lora::test::write_single_file("sd1", folder);
  MergeRequest request = merge_of(file, "sd1", folder / "merged.safetensors");
  request.dtype = "float32";
  merge_command(request);
  lora::test::expect_error(ErrorKind::kOutput, {"merged.safetensors", "--overwrite"}, [&] { merge_command(request); });
  MergeRequest back = merge_of(folder / "merged.safetensors", "sd1", folder / "back.safetensors");
  back.unmerge = true;
  merge_command(back);
  const diffusion::Pipeline before({file}), after({folder / "back.safetensors"});
  const auto stored = before.weights(diffusion::kUnet), undone = after.weights(diffusion::kUnet);
  for (const std::string& name : stored->names()) {
    EXPECT_TRUE(at::allclose(undone->tensor(name), stored->tensor(name).to(at::kFloat), 1e-5, 1e-5)) << name;
  }
  MergeRequest bad = merge_of(file, "sd1", folder / "bad.safetensors");
  bad.max_shard_size = 1'000'000;
  lora::test::expect_error(ErrorKind::kConfig, {"--max-shard-size", "one file"}, [&] { merge_command(bad); });
  lora::test::expect_error(ErrorKind::kModel, {"cannot be merged into this base"},
                           [&] { merge_command(merge_of(file, "sdxl", folder / "bad.safetensors")); });
  lora::test::expect_error(ErrorKind::kOutput, {"is a folder"}, [&] { merge_command(merge_of(file, "sd1", folder.path())); });
  EXPECT_FALSE(fs::exists(folder / "bad.safetensors"));
}

}  // namespace
}  // namespace lora::app
