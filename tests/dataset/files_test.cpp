// The kinds of files, their line endings and compression, globs and stdin: the same rows from each.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdio>

#include "data/paths.h"
#include "lora/base/file.h"
#include "lora/data/rows.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora::data {
namespace {

using test::expect_error;
using testing::ElementsAre;

// "origin-without-folder=row" of each row.
std::vector<std::string> rows_of(const std::string& path) {
  std::vector<std::string> rows;
  read_rows(path, *file_kind(path), [&](const Row& row) {
    rows.push_back(row.origin.substr(row.origin.rfind('/') + 1) + "=" + row.object.dump());
    return true;
  });
  return rows;
}

std::string gzip(const test::TemporaryFolder& folder, const std::string& name, const std::string& content) {
  gzFile file = gzopen((folder / name).c_str(), "wb");
  gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
  gzclose(file);
  return folder / name;
}

TEST(Files, JsonLines) {
  const test::TemporaryFolder folder;
  const auto expected = ElementsAre(R"(x.jsonl:1={"text":"a"})", R"(x.jsonl:3={"text":"é"})");
  for (const char* content : {"{\"text\": \"a\"}\n\n{\"text\": \"é\"}\n", "{\"text\": \"a\"}\r\n  \t\r\n{\"text\": \"é\"}\r\n\r\n",
                              "\xef\xbb\xbf{\"text\": \"a\"}\n\n {\"text\": \"\\u00e9\"}"}) {
    EXPECT_THAT(rows_of(folder.write("x.jsonl", content)), expected) << content;
  }
  EXPECT_THAT(rows_of(folder.write("x.jsonl", "")), ElementsAre());
  EXPECT_THAT(rows_of(folder.write("x.jsonl", "\n \n")), ElementsAre());
}

TEST(Files, JsonArray) {
  const test::TemporaryFolder folder;
  const std::string content = "\xef\xbb\xbf[{\"t\": \"]\\\"[,\\\\\"}, {\"t\": [1,\n{\"u\": 2}]},\r\n\n{},\n {\"v\": 1}\n]\n";
  EXPECT_THAT(rows_of(folder.write("x.json", content)),
              ElementsAre(R"(x.json:1={"t":"]\"[,\\"})", R"(x.json:1={"t":[1,{"u":2}]})", R"(x.json:4={})", R"(x.json:5={"v":1})"));
  EXPECT_THAT(rows_of(folder.write("x.json", "[]")), ElementsAre());
  EXPECT_THAT(rows_of(folder.write("x.json", " \n")), ElementsAre());
}

// Files as Python programs write them, with any name.
TEST(Files, ArraysAndObjectsUnderOtherNames) {
  const test::TemporaryFolder folder;
  EXPECT_THAT(rows_of(folder.write("x.jsonl", "\n[\n  {\n    \"text\": \"a\"\n  },\n  {\"text\": \"b\"}\n]\n")),
              ElementsAre(R"(x.jsonl:3={"text":"a"})", R"(x.jsonl:6={"text":"b"})"));
  EXPECT_THAT(rows_of(folder.write("x.jsonl", R"([{"text": "a"}, {"text": "b"}])")),
              ElementsAre(R"(x.jsonl:1={"text":"a"})", R"(x.jsonl:1={"text":"b"})"));
  EXPECT_THAT(rows_of(folder.write("x.jsonl", "{\n  \"text\": \"}{\"\n}\n\n{\n  \"text\": \"b\"\n}\n{\"text\": 1}")),
              ElementsAre(R"(x.jsonl:1={"text":"}{"})", R"(x.jsonl:5={"text":"b"})", R"(x.jsonl:8={"text":1})"));
  EXPECT_THAT(rows_of(folder.write("x.json", "{\"text\": \"a\"}\n{\"text\": \"b\"}\n")),
              ElementsAre(R"(x.json:1={"text":"a"})", R"(x.json:2={"text":"b"})"));
  EXPECT_THAT(rows_of(folder.write("x.json", "{\"version\": [1], \"da:ta\": {},\n \"data\": [\n {\"text\": \"a\"},\n {\"text\": [{}]}]}")),
              ElementsAre(R"(x.json:3={"text":"a"})", R"(x.json:4={"text":[{}]})"));
  EXPECT_THAT(rows_of(folder.write("x.json", "\n{\"messages\": [{\"role\": \"user\"}]}\n")),
              ElementsAre(R"(x.json:2={"messages":[{"role":"user"}]})"));
  const auto refuse = [&](const char* name, const std::string& content, const std::vector<std::string>& parts) {
    expect_error(ErrorKind::kData, parts, [&] { rows_of(folder.write(name, content)); });
  };
  refuse("x.json", R"({"train": [{"text": "a"}], "test": [{"text": "b"}]})", {"x.json:1]", "found train, test", "expected one"});
  refuse("x.json", "\"text\"", {"x.json:1:1]", "found a string"});
  refuse("x.jsonl", "[1,\n {}]", {"x.jsonl:1:2]", "a row must be an object: found an integer"});
  refuse("x.jsonl", "[{\"text\": 1},\n", {"x.jsonl:1:14]", "ends too early"});
  refuse("x.jsonl", "{\n \"text\": \"a\",\n}\n", {"x.jsonl:3:", "is not valid JSON"});
}

TEST(Files, Csv) {
  const test::TemporaryFolder folder;
  const std::string content = "\xef\xbb\xbftext,b\r\nplain,\r\n\r\n\"a, \"\"b\"\"\r\nc\",\"\"\r\n,x y\r\n\"é\",\"last\"";
  EXPECT_THAT(rows_of(folder.write("x.csv", content)),
              ElementsAre(R"(x.csv:2={"text":"plain","b":""})", R"(x.csv:4={"text":"a, \"b\"\r\nc","b":""})",
                          R"(x.csv:6={"text":"","b":"x y"})", R"(x.csv:7={"text":"é","b":"last"})"));
  EXPECT_THAT(rows_of(folder.write("x.csv", "")), ElementsAre());
  EXPECT_THAT(rows_of(folder.write("x.csv", "a,b\n")), ElementsAre());
}

TEST(Files, Text) {
  const test::TemporaryFolder folder;
  EXPECT_THAT(rows_of(folder.write("x.txt", "one \"line\"\r\n\n  two\n \t\nthree")),
              ElementsAre(R"(x.txt:1={"text":"one \"line\""})", R"(x.txt:3={"text":"  two"})", R"(x.txt:5={"text":"three"})"));
}

TEST(Files, GzipAndHash) {
  const test::TemporaryFolder folder;
  const std::string content = "{\"text\": \"a\"}\n{\"text\": \"b\"}\n";
  const std::string path = gzip(folder, "x.jsonl.gz", content);
  EXPECT_THAT(rows_of(path), ElementsAre(R"(x.jsonl.gz:1={"text":"a"})", R"(x.jsonl.gz:2={"text":"b"})"));
  const std::string packed = read_file(path, ErrorKind::kData);
  EXPECT_EQ(read_rows(path, *file_kind("x.jsonl"), [](const Row&) { return true; }), sha256(packed));
  EXPECT_THAT(rows_of(gzip(folder, "x.csv.gz", "a\nb\n")), ElementsAre(R"(x.csv.gz:2={"a":"b"})"));
  EXPECT_THAT(rows_of(gzip(folder, "x.txt.gz", "b")), ElementsAre(R"(x.txt.gz:1={"text":"b"})"));
  EXPECT_THAT(rows_of(gzip(folder, "x.json.gz", "[{}]")), ElementsAre(R"(x.json.gz:1={})"));
  // Two consecutive gzip members are one text.
  EXPECT_EQ(rows_of(folder.write("two.jsonl.gz", packed + packed)).size(), 4U);

  for (size_t size : {size_t{0}, size_t{5}, packed.size() / 2, packed.size() - 9, packed.size() - 1}) {
    folder.write("cut.jsonl.gz", packed.substr(0, size));
    expect_error(ErrorKind::kData, {"cut.jsonl.gz]", "gzip"}, [&] { rows_of(folder / "cut.jsonl.gz"); });
  }
  std::string flipped = packed;
  flipped[packed.size() - 6] ^= 1;
  folder.write("sum.jsonl.gz", flipped);
  expect_error(ErrorKind::kData, {"sum.jsonl.gz]", "damaged"}, [&] { rows_of(folder / "sum.jsonl.gz"); });
  folder.write("plain.jsonl.gz", content);
  expect_error(ErrorKind::kData, {"plain.jsonl.gz]", "content is not gzip"}, [&] { rows_of(folder / "plain.jsonl.gz"); });
}

TEST(Files, Stdin) {
  const test::TemporaryFolder folder;
  const std::string content = "{\"text\": \"a\"}\n\n{\"text\": \"b\"}";
  ASSERT_NE(std::freopen(folder.write("in", content).c_str(), "rb", stdin), nullptr);
  std::vector<std::string> origins;
  const std::string hash = read_rows("-", *file_kind("-"), [&](const Row& row) {
    origins.push_back(row.origin);
    return true;
  });
  EXPECT_THAT(origins, ElementsAre("stdin:1", "stdin:3"));
  EXPECT_EQ(hash, sha256(content));
}

TEST(Files, KindsByEnding) {
  EXPECT_EQ(known_endings(), ".jsonl, .json, .csv, .txt, each also with .gz");
  EXPECT_EQ(file_endings(" or "), ".jsonl, .json, .csv or .txt");
  EXPECT_EQ(file_endings(" or ", /*with_text=*/false), ".jsonl, .json or .csv");
  for (const char* ending : {".jsonl", ".json", ".csv", ".txt"}) {
    const FileKind* const kind = file_kind(std::string("a.csv/x") + ending);
    ASSERT_NE(kind, nullptr) << ending;
    EXPECT_EQ(kind->ending, ending);
    EXPECT_EQ(kind->is_plain_text, kind->ending == ".txt");
    EXPECT_EQ(file_kind(std::string("x") + ending + ".gz"), kind);
  }
  EXPECT_EQ(file_kind("-")->ending, ".jsonl");
  EXPECT_EQ(file_kind("x.parquet"), nullptr);
}

TEST(Files, LongLinesAcrossBuffers) {
  const test::TemporaryFolder folder;
  const std::string text(5 << 20, 'x');
  const std::string content = "{\"text\": \"" + text + "\"}\n{\"text\": \"b\"}\n";
  std::vector<size_t> sizes;
  read_rows(folder.write("x.jsonl", content), *file_kind("x.jsonl"), [&](const Row& row) {
    sizes.push_back(row.object["text"].get_ref<const std::string&>().size());
    return true;
  });
  EXPECT_THAT(sizes, ElementsAre(text.size(), 1U));
}

TEST(Files, Globs) {
  const test::TemporaryFolder folder;
  for (const char* name :
       {"b.jsonl", "a.jsonl", "c.json", ".hidden.jsonl", "one/x1.jsonl", "one/x2.jsonl", "two/x1.jsonl", "[odd].jsonl"}) {
    folder.write(name, "");
  }
  std::filesystem::create_directory(folder / "folder.jsonl");
  const auto names = [&](const std::string& pattern) {
    std::vector<std::string> result;
    for (const std::string& path : expand_path(folder / pattern)) {
      result.push_back(path.substr((folder / "").string().size()));
    }
    return result;
  };
  EXPECT_THAT(names("*.jsonl"), ElementsAre("[odd].jsonl", "a.jsonl", "b.jsonl"));
  EXPECT_THAT(names(".*.jsonl"), ElementsAre(".hidden.jsonl"));
  EXPECT_THAT(names("?.json*"), ElementsAre("a.jsonl", "b.jsonl", "c.json"));
  EXPECT_THAT(names("[ab].jsonl"), ElementsAre("a.jsonl", "b.jsonl"));
  EXPECT_THAT(names("*/x1.jsonl"), ElementsAre("one/x1.jsonl", "two/x1.jsonl"));
  EXPECT_THAT(names("[o]*/x?.jsonl"), ElementsAre("one/x1.jsonl", "one/x2.jsonl"));
  EXPECT_THAT(names("[odd].jsonl"), ElementsAre("[odd].jsonl"));
  EXPECT_THAT(expand_path("-"), ElementsAre("-"));
  expect_error(ErrorKind::kData, {"no file matches"}, [&] { names("*.csv"); });
  expect_error(ErrorKind::kData, {"\"**\""}, [&] { names("**/x1.jsonl"); });
  expect_error(ErrorKind::kData, {"missing.jsonl]", "No such file"}, [&] { names("missing.jsonl"); });
  expect_error(ErrorKind::kData, {"found a folder", "one/*.jsonl"}, [&] { names("one"); });
  expect_error(ErrorKind::kData, {"/dev/null]", "not a regular file"}, [&] { expand_path("/dev/null"); });
}

}  // namespace
}  // namespace lora::data
