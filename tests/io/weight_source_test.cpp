#include "lora/io/checkpoint.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>

#include "lora/io/tensors.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora::io {
namespace {

using lora::test::expect_error;
using lora::test::TemporaryFolder;

constexpr const char* kIndex = "model.safetensors.index.json";
constexpr WeightRole kRole = WeightRole::kLinear;

void refused(const fs::path& folder, const std::vector<std::string>& parts) {
  expect_error(ErrorKind::kModel, parts, [&] { SafetensorsCheckpoint source(folder); });
}

/// Two shards with one tensor each.
void write_shards(const TemporaryFolder& folder) {
  save_tensors(folder / "model-00001-of-00002.safetensors", {{"a", at::ones({2})}, {"extra", at::ones({1})}});
  save_tensors(folder / "model-00002-of-00002.safetensors", {{"b", at::zeros({3})}});
}
const std::string kGoodIndex =
    R"({"metadata":{"total_size":20},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}})";

TEST(SafetensorsCheckpoint, ReadsOneFile) {
  const TemporaryFolder folder;
  save_tensors(folder / "model.safetensors", {{"w", at::ones({2, 3})}, {"v", at::zeros({1})}, {"u", at::zeros({1})}});
  SafetensorsCheckpoint source(folder.path());
  EXPECT_TRUE(at::equal(source.get("w", {2, 3}, kRole), at::ones({2, 3})));
  EXPECT_TRUE(source.contains("v") && !source.contains("x"));
  EXPECT_EQ(source.unused(), (std::vector<std::string>{"u", "v"}));
  EXPECT_EQ(source.files(), std::vector<fs::path>{folder / "model.safetensors"});
  expect_error(ErrorKind::kModel, {"tensor 'w'] ", "found shape [2, 3], expected [3, 2]"}, [&] { source.get("w", {3, 2}, kRole); });
  expect_error(ErrorKind::kModel, {"tensor 'nothing'] ", "is missing"}, [&] { source.get("nothing", {1}, kRole); });
}

TEST(SafetensorsCheckpoint, KnowsTheDtypeAndRefusesQuantisedWeights) {
  const TemporaryFolder folder;
  save_tensors(folder / "model.safetensors", {{"a", at::ones({2}, at::kChar)}, {"b", at::ones({2}, at::kBFloat16)}, {"c", at::ones({2})}});
  SafetensorsCheckpoint source(folder.path());
  EXPECT_EQ(source.stored_dtype(), at::kBFloat16);
  expect_error(ErrorKind::kModel, {"tensor 'a'] ", "found dtype Char", "quantised"}, [&] { source.get("a", {2}, kRole); });
}

TEST(SafetensorsCheckpoint, ReadsShardsAlsoThroughLinks) {
  const TemporaryFolder blobs;
  const TemporaryFolder folder;
  write_shards(blobs);
  for (const auto& entry : fs::directory_iterator(blobs.path())) {
    fs::create_symlink(entry.path(), folder.path() / entry.path().filename());
  }
  folder.write(kIndex, kGoodIndex);
  SafetensorsCheckpoint source(folder.path());
  EXPECT_EQ(source.get("a", {2}, kRole).sum().item<float>(), 2);
  EXPECT_EQ(source.get("b", {3}, kRole).sum().item<float>(), 0);
  EXPECT_EQ(source.unused(), std::vector<std::string>{"extra"});
  EXPECT_TRUE(source.contains("extra"));  // not listed in the index
  EXPECT_EQ(source.unlisted(), std::vector<std::string>{"extra"});
  EXPECT_TRUE(source.absent().empty());
  EXPECT_EQ(source.files().size(), 3U);
}

TEST(SafetensorsCheckpoint, KeepsShardNamesInTheFolder) {
  const TemporaryFolder folder;
  write_shards(folder);
  fs::create_directory(folder / "sub");
  fs::copy_file(folder / "model-00001-of-00002.safetensors", folder / "sub/x.safetensors");
  const fs::path outside = folder.path().parent_path() / (folder.path().filename().string() + ".safetensors");
  fs::copy_file(folder / "model-00001-of-00002.safetensors", outside);
  for (const std::string& name :
       {"../" + outside.filename().string(), outside.string(), std::string("/etc/passwd"), std::string("sub/x.safetensors"),
        std::string(".."), std::string("."), std::string(""), std::string("./model-00001-of-00002.safetensors"), std::string("..\\\\x"),
        std::string("C:\\\\x"), std::string("model-00001-of-00002.safetensors\\u0000"),
        std::string("sub/../model-00001-of-00002.safetensors")}) {
    SCOPED_TRACE(name);
    folder.write(kIndex, R"({"weight_map":{"a":")" + name + "\"}}");
    refused(folder.path(), {"index.json: weight_map.a] ", "expected a plain name"});
  }
  fs::remove(outside);
}

TEST(SafetensorsCheckpoint, ExplainsABrokenIndex) {
  const TemporaryFolder folder;
  write_shards(folder);
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases = {
      {"", {"index.json:1:1]"}},
      {"[]", {"expected a JSON object"}},
      {"{}", {"weight_map", "missing"}},
      {R"({"weight_map":[]})", {"weight_map", "found an array"}},
      {R"({"weight_map":{"a":1}})", {"weight_map.a", "found 1"}},
      {R"({"weight_map":{"a":null}})", {"weight_map.a", "found null"}},
      {R"({"weight_map":{"a":"gone.safetensors"}})", {"gone.safetensors] ", "is missing", "incomplete download"}},
      {R"({"weight_map":{"a":"model-00001-of-00002.safetensors","a":"model-00002-of-00002.safetensors"}})", {"occurs twice"}},
      {R"({"weight_map":{"a":"sub"}})", {"sub] ", "folder"}},
      {R"({"weight_map":{"a":"broken.safetensors"}})", {"broken.safetensors] ", "not a safetensors file"}},
  };
  fs::create_directory(folder / "sub");
  folder.write("broken.safetensors", "abc");
  for (const auto& [text, parts] : cases) {
    SCOPED_TRACE(text);
    folder.write(kIndex, text);
    refused(folder.path(), parts);
  }
  // An index entry for a tensor that no file holds is an error only for a caller that needs the tensor.
  folder.write(kIndex, R"({"weight_map":{"a":"model-00002-of-00002.safetensors"}})");
  SafetensorsCheckpoint source(folder.path());
  EXPECT_EQ(source.absent(), std::vector<std::string>{"a"});
  expect_error(ErrorKind::kModel, {"tensor 'a'", "is missing", "two versions"}, [&] { source.get("a", {2}, kRole); });
}

TEST(SafetensorsCheckpoint, ExplainsAFolderWithoutSafetensors) {
  const TemporaryFolder folder;
  refused(folder / "none", {"none] ", "No such file"});
  refused(folder.path(), {"found no weights", "expected model.safetensors"});
  folder.write("other.safetensors", "");
  refused(folder.path(), {"found other.safetensors"});
  folder.write("pytorch_model-00001-of-00002.bin", "");
  refused(folder.path(), {"pytorch_model.bin", "from_pretrained", "save_pretrained", "safe_serialization=True"});
  fs::create_symlink(folder / "gone", folder / "model.safetensors");
  refused(folder.path(), {"model.safetensors] ", "No such file"});
}

TEST(RandomSource, IsAPureFunctionOfSeedAndName) {
  RandomSource source(1, 0.02);
  RandomSource same(1, 0.02);
  RandomSource other(2, 0.02);
  const at::Tensor weight = source.get("w", {200, 100}, WeightRole::kLinear);
  same.get("v", {3}, WeightRole::kEmbedding);
  EXPECT_TRUE(at::equal(same.get("w", {200, 100}, WeightRole::kEmbedding), weight));
  EXPECT_FALSE(at::equal(source.get("v", {200, 100}, WeightRole::kLinear), weight));
  EXPECT_FALSE(at::equal(other.get("w", {200, 100}, WeightRole::kLinear), weight));
  EXPECT_NEAR(weight.std().item<double>(), 0.02, 0.0005);
  EXPECT_NEAR(weight.mean().item<double>(), 0, 0.0005);
  EXPECT_EQ(weight.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(source.get("n", {4}, WeightRole::kNorm), at::ones({4})));
  EXPECT_TRUE(at::equal(source.get("b", {4}, WeightRole::kBias), at::zeros({4})));
  EXPECT_TRUE(source.contains("anything") && source.unused().empty());
}

TEST(HubCache, FindsTheSnapshotOfMain) {
  const TemporaryFolder hub;
  const fs::path root = hub / "models--org--name";
  fs::create_directories(root / "snapshots/abc123");
  EXPECT_EQ(find_in_hub_cache(hub.path(), "org/name"), root / "snapshots/abc123");  // fetched by commit
  fs::create_directories(root / "refs");
  fs::create_directories(root / "snapshots/def456");
  const auto main_is = [&](const std::string& commit) { std::ofstream(root / "refs/main") << commit; };
  main_is("abc123\n");
  EXPECT_EQ(find_in_hub_cache(hub.path(), "org/name"), root / "snapshots/abc123");
  for (const char* commit : {"gone", "", "../snapshots/abc123", "/etc", ".."}) {
    main_is(commit);
    EXPECT_TRUE(find_in_hub_cache(hub.path(), "org/name").empty()) << commit;
  }
  for (const char* name : {"", "org", "org/other", "a/b/c", "../x", "org/..", "/org/name", "org/na me", "."}) {
    EXPECT_TRUE(find_in_hub_cache(hub.path(), name).empty()) << name;
  }
  EXPECT_TRUE(find_in_hub_cache("", "org/name").empty());
  fs::create_directories(hub / "models--gpt2/snapshots/1");
  EXPECT_EQ(find_in_hub_cache(hub.path(), "gpt2"), hub / "models--gpt2/snapshots/1");
}

}  // namespace
}  // namespace lora::io
