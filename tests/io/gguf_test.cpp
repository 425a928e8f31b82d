// The bytes of GGUF files.
#include <gtest/gtest.h>

#include "lora/io/gguf.h"
#include "support/expect_error.h"
#include "support/gguf_file.h"
#include "support/temporary_folder.h"

namespace lora::io {
namespace {

using test::expect_equal;
using test::expect_error;
using test::normal;

TEST(Gguf, HoldsKeysAndTensorsAsTheFormatSays) {
  const test::TemporaryFolder folder;
  const Tensor a = normal({3, 5}, 1, at::kFloat);  // 60 bytes: padding follows
  const Tensor b = normal({2, 3, 4}, 2, at::kHalf);
  const Tensor c = normal({7}, 3, at::kBFloat16);
  write_gguf(folder / "x.gguf", {{"general.architecture", "llama"}, {"adapter.lora.alpha", 2.5F}, {"count", uint32_t{7}}, {"none", ""}},
             {{"second", b}, {"first", a}, {"turned", a.t()}, {"c", c}});
  const test::GgufFile file(folder / "x.gguf");
  EXPECT_EQ(file.magic, "GGUF");
  EXPECT_EQ(file.version, 3U);
  EXPECT_EQ(file.texts.at("general.architecture"), "llama");
  EXPECT_EQ(file.texts.at("none"), "");
  EXPECT_EQ(file.floats.at("adapter.lora.alpha"), 2.5F);
  EXPECT_EQ(file.integers.at("count"), 7U);
  EXPECT_EQ(file.names, (std::vector<std::string>{"second", "first", "turned", "c"}));
  EXPECT_EQ(file.infos.at("second").ne, (std::vector<uint64_t>{4, 3, 2}));
  EXPECT_EQ(file.infos.at("second").type, 1U);
  EXPECT_EQ(file.infos.at("c").type, 30U);
  size_t expected = 0;
  for (const std::string& name : file.names) {
    EXPECT_EQ(file.infos.at(name).offset, expected) << name;
    expected += (file.tensor(name).nbytes() + 31) / 32 * 32;
  }
  EXPECT_EQ(file.size, file.data_offset + expected);
  expect_equal(file.tensor("first"), a);
  expect_equal(file.tensor("second"), b);
  expect_equal(file.tensor("turned"), a.t().contiguous());
  expect_equal(file.tensor("c"), c);
  // A file without keys and tensors is valid too.
  write_gguf(folder / "empty.gguf", {}, {});
  EXPECT_EQ(test::GgufFile(folder / "empty.gguf").size, 32U);
}

TEST(Gguf, RefusesWhatItCannotHold) {
  const test::TemporaryFolder folder;
  const Tensor a = normal({3, 5}, 1, at::kFloat);
  const auto fails = [&](const GgufKeys& keys, const std::vector<NamedTensor>& tensors, const std::vector<std::string>& parts) {
    expect_error(ErrorKind::kOutput, parts, [&] { write_gguf(folder / "x.gguf", keys, tensors); });
    EXPECT_FALSE(std::filesystem::exists(folder / "x.gguf"));
  };
  fails({}, {{"a", a.to(at::kDouble)}}, {"'a'", "float64", "expected float32, float16 or bfloat16"});
  fails({}, {{"a", a.sum()}}, {"'a'", "one to four dimensions"});
  fails({}, {{"a", a.view({1, 1, 1, 3, 5})}}, {"'a'", "one to four dimensions"});
  fails({}, {{"a", a}, {"a", a}}, {"tensor 'a'", "twice"});
  fails({{"k", 1.0F}, {"k", 2.0F}}, {}, {"key 'k'", "twice"});
  fails({}, {{std::string(64, 'x'), a}}, {"64 bytes", "at most 63"});
  write_gguf(folder / "y.gguf", {}, {{std::string(63, 'x'), a}});
}

}  // namespace
}  // namespace lora::io
