#include "lora/io/gguf_file.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>

#include "lora/io/gguf.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora::io {
namespace {

using test::expect_error;
using test::TemporaryFolder;

/// The bytes of a file, piece by piece.
class Bytes {
 public:
  template <typename Number>
  Bytes& number(Number value) {
    char bytes[sizeof(Number)];
    std::memcpy(bytes, &value, sizeof(Number));
    text_.append(bytes, sizeof(Number));
    return *this;
  }
  Bytes& text(const std::string& value) {
    number<uint64_t>(value.size());
    text_ += value;
    return *this;
  }
  Bytes& header(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
    text_ = "GGUF";
    return number(version).number(tensors).number(keys);
  }
  Bytes& key(const std::string& name, uint32_t type) { return text(name).number(type); }
  Bytes& tensor(const std::string& name, std::vector<uint64_t> sizes, uint32_t type, uint64_t offset) {
    text(name).number(static_cast<uint32_t>(sizes.size()));
    for (const uint64_t size : sizes) {
      number(size);
    }
    return number(type).number(offset);
  }
  Bytes& data(size_t count) {
    text_.resize((text_.size() + 31) / 32 * 32 + count, '\0');
    return *this;
  }
  const std::string& bytes() const { return text_; }

 private:
  std::string text_;
};

void refused_file(const std::string& bytes, const std::vector<std::string>& parts) {
  const TemporaryFolder folder;
  const fs::path file = folder.write("x.gguf", bytes);
  expect_error(ErrorKind::kModel, parts, [&] { GgufFile opened(file); });
}

TEST(GgufFile, ReadsWhatWriteGgufWrites) {
  const TemporaryFolder folder;
  const fs::path path = folder / "x.gguf";
  const at::Tensor a = at::arange(6, at::kFloat).view({2, 3}), b = at::ones({4}, at::kHalf);
  write_gguf(path, {{"general.architecture", std::string("llama")}, {"n", uint32_t{7}}, {"r", 0.5F}}, {{"a", a}, {"b", b}});
  ASSERT_TRUE(is_gguf(path));
  const GgufFile file(path);
  EXPECT_EQ(file.text("general.architecture"), "llama");
  EXPECT_EQ(file.integer("n"), 7);
  EXPECT_EQ(file.number("r"), 0.5);
  EXPECT_EQ(file.number("n"), 7);
  EXPECT_EQ(file.integer("missing", 3), 3);
  EXPECT_FALSE(file.boolean("missing", false));
  ASSERT_EQ(file.tensors().size(), 2U);
  EXPECT_EQ(file.tensors()[0].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_TRUE(at::equal(file.bytes(file.tensors()[0]).view(at::kFloat).view({2, 3}), a));
  EXPECT_EQ(std::string(file.tensors()[1].type->name), "F16");
  EXPECT_TRUE(at::equal(file.bytes(file.tensors()[1]).view(at::kHalf), b));
  EXPECT_EQ(file.files(), std::vector<fs::path>{path});
}

TEST(GgufFile, ReadsEveryTypeOfValue) {
  const TemporaryFolder folder;
  Bytes bytes;
  bytes.header(0, 14, /*version=*/2);
  bytes.key("u8", 0).number<uint8_t>(200).key("i8", 1).number<int8_t>(-5).key("u16", 2).number<uint16_t>(60000);
  bytes.key("i16", 3).number<int16_t>(-6).key("u32", 4).number<uint32_t>(4000000000U).key("i32", 5).number<int32_t>(-7);
  bytes.key("f32", 6).number<float>(1.5F).key("bool", 7).number<uint8_t>(1).key("text", 8).text("abc");
  bytes.key("u64", 10).number<uint64_t>(1ULL << 63).key("i64", 11).number<int64_t>(-8).key("f64", 12).number<double>(0.25);
  bytes.key("texts", 9).number<uint32_t>(8).number<uint64_t>(2).text("x").text("");
  bytes.key("numbers", 9).number<uint32_t>(3).number<uint64_t>(2).number<int16_t>(-1).number<int16_t>(2);
  const GgufFile file(folder.write("x.gguf", bytes.bytes()));
  EXPECT_EQ(file.integer("u8"), 200);
  EXPECT_EQ(file.integer("i8"), -5);
  EXPECT_EQ(file.integer("u16"), 60000);
  EXPECT_EQ(file.integer("i16"), -6);
  EXPECT_EQ(file.integer("u32"), 4000000000);
  EXPECT_EQ(file.integer("i32"), -7);
  EXPECT_EQ(file.number("f32"), 1.5);
  EXPECT_TRUE(file.boolean("bool", false));
  EXPECT_EQ(file.text("text"), "abc");
  EXPECT_EQ(file.integer("i64"), -8);
  EXPECT_EQ(file.number("f64"), 0.25);
  EXPECT_EQ(file.texts("texts"), (std::vector<std::string_view>{"x", ""}));
  EXPECT_EQ(file.integers("numbers"), (std::vector<int64_t>{-1, 2}));
  EXPECT_EQ(file.length("numbers"), 2);
  expect_error(ErrorKind::kModel, {"u64", "above 2^63", "expected an integer"}, [&] { (void)file.integer("u64"); });
  expect_error(ErrorKind::kModel, {"text", "found 'abc', expected an integer"}, [&] { (void)file.integer("text"); });
  expect_error(ErrorKind::kModel, {"texts", "found an array of 2, expected an array of integers"}, [&] { (void)file.integers("texts"); });
  expect_error(ErrorKind::kModel, {"i8", "found -5, expected a string"}, [&] { (void)file.text("i8"); });
  expect_error(ErrorKind::kModel, {"has no metadata key 'none'"}, [&] { (void)file.text("none"); });
}

TEST(GgufFile, OtherFilesAreRefused) {
  refused_file("", {"is not a GGUF file"});
  refused_file("PK\x03\x04", {"found 'PK", "expected 'GGUF'"});
  refused_file("GGUF", {"ends inside its header"});
  refused_file(Bytes().header(0, 0, 1).bytes(), {"found GGUF version 1, expected 2 or 3"});
  refused_file(Bytes().header(0, 0, 3U << 24).bytes(), {"is a big-endian GGUF file"});
}

TEST(GgufFile, CountsAndLengthsAreCheckedBeforeTheyAreUsed) {
  refused_file(Bytes().header(1ULL << 60, 0).bytes(), {"a count of 1152921504606846976 tensors, more than fit"});
  refused_file(Bytes().header(0, ~0ULL).bytes(), {"metadata keys, more than fit"});
  refused_file(Bytes().header(0, 1).number<uint64_t>(1ULL << 62).data(64).bytes(), {"ends inside a metadata key"});
  refused_file(Bytes().header(0, 1).key("k", 9).number<uint32_t>(4).number<uint64_t>(1ULL << 61).bytes(),
               {"elements of an array, more than fit"});
  refused_file(Bytes().header(0, 1).key("k", 9).number<uint32_t>(8).number<uint64_t>(3).text("a").number<uint64_t>(100).data(0).bytes(),
               {"ends inside a metadata array"});
  refused_file(Bytes().header(0, 1).key("k", 9).number<uint32_t>(9).number<uint64_t>(1).bytes(), {"'k': found an array of arrays"});
  refused_file(Bytes().header(0, 1).key("k", 99).data(8).bytes(), {"'k': found the value type 99"});
  refused_file(Bytes().header(0, 2).key("k", 0).number<uint8_t>(1).key("k", 0).number<uint8_t>(1).bytes(), {"'k' occurs twice"});
  refused_file(Bytes().header(0, 1).key("general.alignment", 4).number<uint32_t>(24).bytes(), {"found 24, expected a power of two"});
}

TEST(GgufFile, TensorsMustLieInTheFile) {
  refused_file(Bytes().header(1, 0).tensor("t", {32}, 2, 0).data(17).bytes(),
               {"'t': lies outside the file: found 17 bytes of data, expected 18"});
  refused_file(Bytes().header(1, 0).tensor("t", {32}, 2, 1ULL << 40).data(64).bytes(), {"'t': lies outside the file"});
  refused_file(Bytes().header(1, 0).tensor("t", {32}, 2, 8).data(64).bytes(), {"begins at byte 8 of the data, expected a multiple of 32"});
  refused_file(Bytes().header(1, 0).tensor("t", {33}, 2, 0).data(64).bytes(), {"rows of 33 elements, expected a multiple of 32 for Q4_0"});
  refused_file(Bytes().header(1, 0).tensor("t", {1ULL << 40, 1ULL << 40}, 0, 0).bytes(), {"too large for 64 bits"});
  refused_file(Bytes().header(1, 0).tensor("t", {~0ULL}, 0, 0).bytes(), {"a dimension of 18446744073709551615"});
  refused_file(Bytes().header(1, 0).tensor("t", {1, 1, 1, 1, 1}, 0, 0).bytes(), {"found 5 dimensions, expected at most 4"});
  refused_file(Bytes().header(1, 0).tensor("t", {1}, 77, 0).data(4).bytes(), {"'t': found the ggml type 77, which is not known"});
  refused_file(Bytes().header(2, 0).tensor("t", {1}, 0, 0).tensor("t", {1}, 0, 0).data(4).bytes(), {"'t': occurs twice"});
}

std::string split_part(uint16_t count, const std::string& tensor) {
  return Bytes().header(1, 1).key("split.count", 2).number(count).tensor(tensor, {8}, 0, 0).data(32).bytes();
}

TEST(GgufFile, ReadsAllPartsOfASplitModel) {
  const TemporaryFolder folder;
  const fs::path first = folder.write("m-00001-of-00002.gguf", split_part(2, "a"));
  folder.write("m-00002-of-00002.gguf", split_part(2, "b"));
  const GgufFile file(first);
  ASSERT_EQ(file.tensors().size(), 2U);
  EXPECT_EQ(file.tensors()[1].name, "b");
  EXPECT_EQ(file.bytes(file.tensors()[1]).numel(), 32);
  EXPECT_EQ(file.files().size(), 2U);
}

TEST(GgufFile, PartsOfASplitModelAreRefusedWithAReason) {
  const TemporaryFolder folder;
  const fs::path second = folder.write("m-00002-of-00002.gguf", split_part(2, "a"));
  expect_error(ErrorKind::kModel, {"split into 2 files", "ends with -00001-of-00002.gguf"}, [&] { GgufFile file(second); });
  const fs::path first = folder.write("m-00001-of-00002.gguf", split_part(2, "a"));
  expect_error(ErrorKind::kModel, {"tensor 'a' occurs in two of its files"}, [&] { GgufFile file(first); });
  fs::remove(second);
  expect_error(ErrorKind::kModel, {"m-00002-of-00002.gguf"}, [&] { GgufFile file(first); });
}

}  // namespace
}  // namespace lora::io
