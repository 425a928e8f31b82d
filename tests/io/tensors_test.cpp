#include "lora/io/tensors.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>

#include "io/safetensors_corpus.h"
#include "support/content.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora::io {
namespace {

using corpus::kGoldens;
using lora::test::content;
using lora::test::expect_error;
using lora::test::TemporaryFolder;

TEST(SafetensorsFile, ReadsEveryDtypeAndWritesItBack) {
  const TemporaryFolder folder;
  const fs::path golden = kGoldens / "dtypes.safetensors";
  const SafetensorsFile file(golden);
  EXPECT_EQ(file.names().size(), 32U);
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}}));
  std::vector<NamedTensor> tensors;
  for (const std::string& name : file.names()) {
    tensors.push_back({name, file.tensor(name)});
    EXPECT_EQ(file.shape(name), std::vector<int64_t>{8});
  }
  const std::vector<std::pair<std::string, at::ScalarType>> expected = {
      {"a.BOOL", at::kBool}, {"a.BF16", at::kBFloat16}, {"a.F16", at::kHalf}, {"a.F8_E4M3", at::kFloat8_e4m3fn}, {"a.U64", at::kUInt64}};
  for (const auto& [name, dtype] : expected) {
    EXPECT_EQ(file.tensor(name).scalar_type(), dtype) << name;
  }
  EXPECT_TRUE(at::equal(file.tensor("a.U8"), at::tensor({0, 1, 0, 1, 0, 1, 0, 1}, at::kByte)));
  EXPECT_TRUE(at::equal(file.tensor("a.I16"), at::full({8}, 256, at::kShort)));
  save_tensors(folder / "copy", tensors);
  EXPECT_EQ(content(folder / "copy"), content(golden));
}

TEST(SafetensorsFile, SharesThePagesPrivatelyAndOutlivesItself) {
  const TemporaryFolder folder;
  const fs::path path = folder / "m.safetensors";
  const at::Tensor weight = at::arange(12, at::kFloat).reshape({3, 4});
  save_tensors(path, {{"w", weight}, {"e", at::empty({0, 5})}, {"s", at::scalar_tensor(2.5, at::kFloat)}});
  const std::string before = content(path);
  at::Tensor mapped;
  {
    const SafetensorsFile file(path);
    mapped = file.tensor("w");
    EXPECT_EQ(file.tensor("w").data_ptr(), mapped.data_ptr());
    EXPECT_EQ(file.tensor("e").sizes().vec(), (std::vector<int64_t>{0, 5}));
    EXPECT_EQ(file.tensor("s").item<float>(), 2.5F);
    EXPECT_EQ(file.tensor("s").dim(), 0);
  }
  fs::remove(path);
  EXPECT_TRUE(at::equal(mapped, weight));
  mapped.add_(1);
  EXPECT_TRUE(at::equal(mapped, weight + 1));
  save_tensors(path, {{"w", weight}, {"e", at::empty({0, 5})}, {"s", at::scalar_tensor(2.5, at::kFloat)}});
  const at::Tensor changed = SafetensorsFile(path).tensor("w").fill_(7);
  EXPECT_EQ(content(path), before);
}

TEST(SafetensorsFile, CopiesWhatIsNotAligned) {
  const TemporaryFolder folder;
  const std::vector<float> values = {1.5F, -2.5F};
  std::string data = "x";
  data.append(reinterpret_cast<const char*>(values.data()), 8);
  const std::string header =
      R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"f":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}})";
  for (int padding = 0; padding < 8; ++padding) {
    const SafetensorsFile file(folder.write("m", corpus::file_of(header + std::string(padding, ' '), data)));
    const at::Tensor tensor = file.tensor("f");
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data_ptr()) % 4, 0U);
    EXPECT_TRUE(at::equal(tensor, at::tensor({1.5F, -2.5F})));
  }
}

TEST(SafetensorsFile, NamesWhatItCannotGive) {
  const TemporaryFolder folder;
  const auto file_of = [&](const std::string& header, const std::string& data) {
    return SafetensorsFile(folder.write("m.safetensors", corpus::file_of(header, data)));
  };
  const auto refused = [](const std::vector<std::string>& parts, auto action) { expect_error(ErrorKind::kModel, parts, action); };
  const SafetensorsFile unknown = file_of(corpus::one("F4", "[8]", "[0,4]"), "1234");
  refused({"m.safetensors: tensor 'a'] ", "dtype 'F4'", "BF16"}, [&] { unknown.tensor("a"); });
  refused({"tensor 'b'] ", "is missing"}, [&] { unknown.shape("b"); });
  EXPECT_FALSE(unknown.contains("b"));
  const SafetensorsFile boolean = file_of(corpus::one("BOOL", "[2]", "[0,2]"), std::string("\x01\x02"));
  refused({"byte 2 in a BOOL"}, [&] { boolean.tensor("a"); });
  std::string ones = "[1";
  for (int i = 0; i < 1000; ++i) {
    ones += ",1";
  }
  const SafetensorsFile deep = file_of(corpus::one("U8", ones + "]", "[0,1]"), "x");
  refused({"1001 dimensions"}, [&] { deep.tensor("a"); });
  refused({"m.safetensors] ", "found 0 bytes"}, [&] { SafetensorsFile(folder.write("m.safetensors", "")); });
  refused({"none] ", "No such file"}, [&] { SafetensorsFile(folder / "none"); });
  const SafetensorsFile near = file_of(R"({"layer.weight":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "x");
  refused({"did you mean 'layer.weight'"}, [&] { near.tensor("layer.weigth"); });
}

TEST(SaveTensors, TakesAnyStrideAndRefusesOtherDtypes) {
  const TemporaryFolder folder;
  const at::Tensor base = at::arange(6, at::kDouble).reshape({2, 3});
  save_tensors(folder / "x",
               {{"t", base.t()}, {"g", base.clone().requires_grad_()}, {"v", base.select(1, 1)}, {"x", at::ones({2}).expand({3, 2})}}, {});
  const SafetensorsFile file(folder / "x");
  EXPECT_TRUE(at::equal(file.tensor("t"), base.t()));
  EXPECT_TRUE(at::equal(file.tensor("g"), base));
  EXPECT_TRUE(at::equal(file.tensor("v"), base.select(1, 1)));
  EXPECT_TRUE(at::equal(file.tensor("x"), at::ones({3, 2})));
  EXPECT_TRUE(file.metadata().empty());
  const auto refused = [&](const at::Tensor& tensor) {
    expect_error(ErrorKind::kOutput, {"'c'", "dtype"}, [&] { save_tensors(folder / "y", {{"c", tensor}}); });
  };
  refused(at::zeros({1}, at::kComplexFloat));
  refused(at::Tensor());
  EXPECT_FALSE(fs::exists(folder / "y"));
}

}  // namespace
}  // namespace lora::io
