#include "lora/base/json.h"
#include "lora/base/json_access.h"

#include "support/cpu_time.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora {
namespace {

using test::expect_error;

Json parse_strict(std::string_view text) {
  return parse_json(text, "f.json", ErrorKind::kData);
}

std::string failure(const std::string& text, const std::vector<std::string>& parts = {}) {
  SCOPED_TRACE(text.substr(0, 80));
  const std::string message = expect_error(ErrorKind::kData, parts, [&] { parse_strict(text); });
  EXPECT_EQ(message.find("json.exception"), std::string::npos) << message;
  EXPECT_LT(message.size(), 400U);
  return message;
}

TEST(ParseJson, KeepsValuesAndTheOrderOfKeys) {
  const std::string text = R"({"z":[1,-2,3.5,true,null,{"é":"\u00e9\n\ud83d\ude00"}],"a":{},"m":[[],[[]]],"big":18446744073709551615})";
  EXPECT_EQ(parse_strict(text).dump(), R"({"z":[1,-2,3.5,true,null,{"é":"é\n😀"}],"a":{},"m":[[],[[]]],"big":18446744073709551615})");
  EXPECT_EQ(parse_strict("\xef\xbb\xbf {} \r\n").dump(), "{}");
  EXPECT_EQ(parse_strict(" 7").dump(), "7");
  EXPECT_EQ(parse_strict("\"\"").dump(), "\"\"");
  EXPECT_EQ(parse_strict("\"\\u0000\"").get<std::string>(), std::string(1, '\0'));
}

TEST(ParseJson, RejectsWhatIsNotStrictJson) {
  for (const char* text : {"",
                           " ",
                           "{",
                           "[",
                           "[1,",
                           "{\"a\"",
                           "{\"a\":",
                           "{\"a\":1",
                           "{\"a\":1,}",
                           "[1,]",
                           "[,]",
                           "{,}",
                           "{a:1}",
                           "{'a':1}",
                           "nul",
                           "True",
                           "NaN",
                           "Infinity",
                           "-Infinity",
                           "01",
                           "1.",
                           ".5",
                           "+1",
                           "-",
                           "1e",
                           "0x10",
                           "1e400",
                           "-1e400",
                           "\"",
                           "\"\\x\"",
                           "\"\\u12\"",
                           "\"\\ud800\"",
                           "\"\\udc00\"",
                           "\"\\ud800\\u0041\"",
                           "\"a\nb\"",
                           "\"\t\"",
                           "{} {}",
                           "1 2",
                           "[1] // c",
                           "/* c */ 1",
                           "# c",
                           "]",
                           "}",
                           "{\"a\" 1}",
                           "[1 2]",
                           "{1:2}",
                           "\"\xff\"",
                           "\"\xc0\xaf\"",
                           "\"\xed\xa0\x80\"",
                           "\"\xf4\x90\x80\x80\"",
                           "\"\xe2\x82\"",
                           "\xff\xfe{}",
                           "\xef\xbb\xbf\xef\xbb\xbf{}",
                           "\xef\xbb",
                           "{\"a\":1,\"a\":2}"}) {
    failure(text);
  }
  failure(std::string("{}\0", 3), {"NUL"});
  failure(std::string("{}\0{}", 5), {"f.json:1:3", "NUL"});
  failure(std::string("[\"a\0b\"]", 7), {"NUL"});
}

TEST(ParseJson, NamesLineAndColumn) {
  failure("{\n  \"a\": 1,\n  \"b\": }", {"[f.json:3:8] ", "'}'"});
  failure("{\"a\": 1,\n}", {"[f.json:2:1] ", "comma after the last item"});
  failure("[1 2]", {"[f.json:1:4] ", "found 2"});
  failure("{\"a\": [1, 2", {"[f.json:1:12] ", "ends too early"});
  failure("", {"[f.json:1:1] ", "ends too early"});
  failure("{\n\"k\": 1,\n \"k\": 2}", {"[f.json:3:2] ", "'k' occurs twice"});
  failure(R"({"a\"b\\": 1, "a\"b\\": 2})", {"[f.json:1:15] ", "occurs twice"});
  failure("{\"a\": 1e999}", {"[f.json:1:7] ", "1e999"});
  failure("[1, nope]", {"[f.json:1:5] ", "invalid literal"});
  failure("[1, 2.x]", {"[f.json:1:5] ", "digit after '.'"});
  failure("{\"ab\" \"cd\"}", {"[f.json:1:7] ", "found \"cd\""});
  failure("[\"a\nb\"]", {"[f.json:1:4] ", "control character"});
  failure("[\"a\xff\"]", {"[f.json:1:4] ", "UTF-8"});
  failure("[\"abc", {"[f.json:1:6] ", "ends too early"});
  failure("[\"\\ud800x\"]", {"surrogate"});
  expect_error(ErrorKind::kData, {"[rows.jsonl:42:2] "}, [] { parse_json("{]", "rows.jsonl", ErrorKind::kData, 42); });
  EXPECT_LT(failure("[" + std::string(1 << 20, 'x') + "]").size(), 300U);
  EXPECT_LT(failure("[\"" + std::string(1 << 20, 'x')).size(), 300U);
}

TEST(ParseJson, BoundsDepthWithoutUsingTheStack) {
  const auto nested = [](int depth, char open, char close) { return std::string(depth, open) + std::string(depth, close); };
  EXPECT_TRUE(parse_strict(nested(kMaxJsonDepth, '[', ']')).is_array());
  failure(nested(kMaxJsonDepth + 1, '[', ']'), {"[f.json:1:101] ", "too deep"});
  failure(std::string(1'000'000, '['), {"too deep"});
  std::string objects;
  for (int i = 0; i < 1'000'000; ++i) {
    objects += "{\"a\":";
  }
  failure(objects, {"too deep"});
}

TEST(ParseJson, TakesLinearTimeForManyKeys) {
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i) {
    text += "\"key" + std::to_string(i) + "\":[0,1],";
  }
  const test::CpuTime taken;
  const Json json = parse_strict(text + "\"last\":1}");
  failure(text + "\"key100000\":1}", {"'key100000' occurs twice"});
  EXPECT_LT(taken.seconds(), 10);
  EXPECT_EQ(json.size(), 200'001U);
  EXPECT_EQ(json.begin().key(), "key0");
}

TEST(ReadJson, NamesTheFile) {
  const test::TemporaryFolder folder;
  EXPECT_EQ(read_json(folder.write("a.json", "{\"x\":1}\n"), ErrorKind::kModel)["x"], 1);
  expect_error(ErrorKind::kModel, {"none.json", "No such file"}, [&] { read_json(folder / "none.json", ErrorKind::kModel); });
  expect_error(ErrorKind::kConfig, {"b.json:1:2"}, [&] { read_json(folder.write("b.json", "{x"), ErrorKind::kConfig); });
}

TEST(JsonText, NamesTypesAndShortensValues) {
  const Json json = parse_strict(R"([null,{},[],"s",true,1,-1,1.5])");
  const std::vector<std::string> names = {"null", "an object", "an array", "a string", "a boolean", "an integer", "an integer", "a number"};
  for (size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(type_name(json[i]), names[i]);
  }
  EXPECT_EQ(shown(json), R"([null,{},[],"s",true,1,-1,1.5])");
  EXPECT_EQ(shown(Json(std::string(100, 'x')), 5), "\"xxxx…");
  EXPECT_EQ(shown(Json("\xff")), "\"\xef\xbf\xbd\"");
}

TEST(JsonReader, ReturnsTypedValuesAndNamesBadOnes) {
  const Json json = parse_strict(R"({"s":"x","i":5,"f":2.5,"b":true,"n":null,"o":{"p":{"q":"z"}},"u":9223372036854775808})");
  const JsonReader reader(json, "config.json", ErrorKind::kModel);
  EXPECT_EQ(reader.string("s"), "x");
  EXPECT_EQ(reader.integer("i"), 5);
  EXPECT_EQ(reader.number("i"), 5.0);
  EXPECT_EQ(reader.number("f"), 2.5);
  EXPECT_TRUE(reader.boolean("b", false));
  EXPECT_TRUE(reader.has("s") && !reader.has("n") && !reader.has("none"));
  EXPECT_EQ(reader.string("n", "d"), "d");
  EXPECT_EQ(reader.integer("none", 3), 3);
  EXPECT_EQ(reader.number("none", 3.5), 3.5);
  EXPECT_TRUE(reader.boolean("n", true));
  EXPECT_EQ(reader.where(), "config.json");

  const auto fails = [&](const std::vector<std::string>& parts, auto action) { expect_error(ErrorKind::kModel, parts, action); };
  fails({"[config.json: none] ", "missing"}, [&] { reader.string("none"); });
  fails({"[config.json: n] ", "null"}, [&] { reader.integer("n"); });
  fails({"[config.json: i] ", "found an integer (5)", "expected a string"}, [&] { reader.string("i"); });
  fails({"[config.json: i] ", "expected a string"}, [&] { reader.string("i", "fallback"); });
  fails({"[config.json: f] ", "2.5", "expected an integer"}, [&] { reader.integer("f"); });
  fails({"[config.json: u] ", "expected an integer"}, [&] { reader.integer("u"); });
  fails({"[config.json: s] ", "expected a number"}, [&] { reader.number("s"); });
  fails({"[config.json: i] ", "expected true or false"}, [&] { reader.boolean("i", true); });
  fails({"[config.json: o.p.q] ", "expected an integer"}, [&] { reader.object("o").object("p").integer("q"); });
  fails({"[config.json: s] ", "expected a JSON object"}, [&] { reader.object("s"); });
  fails({"[x] ", "an array"}, [] { JsonReader(Json::array(), "x", ErrorKind::kModel); });
}

TEST(JsonAccess, RecordsWhichKeysOfWhichObjectWereRead) {
  const Json json = parse_strict(R"({"a":1,"b":{"a":2,"c":3},"empty":{}})");
  const JsonReader reader(json, "config.json", ErrorKind::kModel);
  reader.integer("a");  // read before `access` exists
  const JsonAccess access;
  {
    const JsonAccess inner;
    reader.object("b").integer("missing", 0);
    EXPECT_TRUE(inner.was_read(json, "b"));
  }
  EXPECT_FALSE(access.was_read(json, "a"));
  EXPECT_TRUE(access.was_read(json, "b") && access.was_read(json["b"], "missing"));
  EXPECT_FALSE(access.was_read(json["b"], "a"));
  EXPECT_TRUE(access.was_opened(json) && access.was_opened(json["b"]));
  EXPECT_FALSE(access.was_opened(json["empty"]));
}

}  // namespace
}  // namespace lora
