#include "lora/io/safetensors.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "io/safetensors_corpus.h"
#include "support/content.h"
#include "support/cpu_time.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora::io {
namespace {

using corpus::Case;
using corpus::kGoldens;
using lora::test::content;
using lora::test::expect_error;
using lora::test::TemporaryFolder;

TEST(ParseHeader, RefusesHostileFiles) {
  const std::vector<Case> cases = corpus::hostile_files();
  EXPECT_GE(cases.size(), 100U);
  for (const Case& hostile : cases) {
    SCOPED_TRACE(hostile.label);
    const std::string message = expect_error(ErrorKind::kModel, {"[x.safetensors"}, [&] { parse_header(hostile.bytes, "x.safetensors"); });
    EXPECT_LT(message.size(), 400U) << message;
  }
}

TEST(ParseHeader, TakesWhatTheFormatAllows) {
  for (const Case& allowed : corpus::allowed_files()) {
    SCOPED_TRACE(allowed.label);
    EXPECT_NO_THROW(parse_header(allowed.bytes, "x"));
  }
}

TEST(ParseHeader, SaysWhatIsWrongAndWhere) {
  const auto refused = [](const std::string& bytes, const std::vector<std::string>& parts) {
    expect_error(ErrorKind::kModel, parts, [&] { parse_header(bytes, "m.safetensors"); });
  };
  using corpus::file_of;
  using corpus::one;
  refused("abc", {"[m.safetensors] ", "found 3 bytes", "incomplete download"});
  refused(file_of("{}", "", 1000), {"found 10 bytes, expected at least 1008", "incomplete download"});
  refused(file_of("{\n]"), {"[m.safetensors: header:2:1] "});
  refused(file_of(one("F32", "[2,3]", "[0,4]"), "1234"), {"[m.safetensors: tensor 'a'] ", "4 bytes, expected 24 for F32 [2,3]"});
  refused(file_of(one("F32", "[1]", "[0,4]"), "12"), {"found 2 bytes of data, expected 4", "incomplete download"});
  refused(file_of(one("F32", "[1]", "[0,4]"), "123456"), {"found 6 bytes of data, expected 4", "appended"});
  refused(file_of("{\"a\\u001b[31m\":1}"), {"tensor 'a\\x1b[31m'", "found an integer"});
}

TEST(ParseHeader, GivesTensorsByOffset) {
  const std::string bytes = content(kGoldens / "names.safetensors");
  const Header header = parse_header(bytes, "names");
  ASSERT_EQ(header.tensors.size(), 10U);
  EXPECT_EQ(header.metadata, (std::map<std::string, std::string>{{"é\"", "\b\f\r\xe2\x80\xa8"}}));
  EXPECT_EQ(header.tensors.front().name, "é\"\\\n\t\x01\x1f\x7f/😀");
  EXPECT_EQ(header.tensors.back().name, "odd");
  EXPECT_EQ(header.tensors.back().dtype_name, "U8");
  EXPECT_EQ(header.tensors.back().shape, std::vector<int64_t>{3});
  EXPECT_EQ(header.data_offset + header.tensors.back().end, bytes.size());
}

TEST(ParseHeader, TakesEachCutAndEachFlippedBitOfAGoodFile) {
  const std::string good = content(kGoldens / "names.safetensors");
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_THROW(parse_header(std::string_view(good).substr(0, length), "x"), Error) << length;
  }
  const size_t header_end = parse_header(good, "x").data_offset;
  std::string damaged = good;
  for (size_t bit = 0; bit < header_end * 8; ++bit) {
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
    try {
      const Header header = parse_header(damaged, "x");  // harmless if a bit of a name changed
      EXPECT_EQ(header.data_offset + header.tensors.back().end, damaged.size());
    } catch (const Error&) {
    }
    damaged[bit / 8] = good[bit / 8];
  }
}

TEST(ParseHeader, TakesLinearTimeForManyTensors) {
  std::string header = "{";
  for (int i = 0; i < 100'000; ++i) {
    header += "\"t" + std::to_string(i) + "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[" + std::to_string(i) + "," +
              std::to_string(i + 1) + "]},";
  }
  header.back() = '}';
  const std::string bytes = corpus::file_of(header, std::string(100'000, '\0'));
  const test::CpuTime taken;
  EXPECT_EQ(parse_header(bytes, "x").tensors.size(), 100'000U);
  EXPECT_LT(taken.seconds(), 5.0);
}

/// Reads a file and writes it again.
std::string rewritten(const fs::path& file, const TemporaryFolder& folder) {
  const std::string bytes = content(file);
  const Header header = parse_header(bytes, file.string());
  std::vector<TensorBytes> tensors;
  for (const TensorEntry& entry : header.tensors) {
    const std::string_view data = std::string_view(bytes).substr(header.data_offset + entry.begin, entry.end - entry.begin);
    tensors.push_back({entry.name, *kDtypes.find(entry.dtype_name), entry.shape, data});
  }
  std::reverse(tensors.begin(), tensors.end());
  write_safetensors(folder / "copy.safetensors", tensors, header.metadata);
  return content(folder / "copy.safetensors");
}

TEST(WriteSafetensors, GivesPythonsBytes) {
  const TemporaryFolder folder;
  for (const char* name : {"dtypes.safetensors", "names.safetensors", "nothing.safetensors"}) {
    EXPECT_EQ(rewritten(kGoldens / name, folder), content(kGoldens / name)) << name;
  }
  EXPECT_EQ(parse_header(content(kGoldens / "dtypes.safetensors"), "x").tensors.size(), 2 * kDtypes.entries.size());
}

TEST(WriteSafetensors, RefusesWhatNobodyCouldRead) {
  const TemporaryFolder folder;
  const fs::path file = folder / "x.safetensors";
  const auto refused = [&](std::vector<TensorBytes> tensors, const std::vector<std::string>& parts,
                           const std::map<std::string, std::string>& metadata = {}) {
    expect_error(ErrorKind::kOutput, parts, [&] { write_safetensors(file, tensors, metadata); });
  };
  const TensorBytes good{"a", Dtype::kU8, {2}, "12"};
  refused({good, good}, {"'a'", "its name is already taken"});
  refused({{"__metadata__", Dtype::kU8, {2}, "12"}}, {"its name is already taken"});
  refused({{"a", Dtype::kF32, {2}, "12"}}, {"'a'", "found 2 bytes, expected 8"});
  refused({{"a", Dtype::kU8, {-1}, ""}}, {"its shape is invalid or too large"});
  refused({{"\xff", Dtype::kU8, {2}, "12"}}, {"invalid UTF-8"});
  refused({good}, {"invalid UTF-8"}, {{"key", "\xff"}});
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

}  // namespace
}  // namespace lora::io
