// Numbers that Python's json module writes although JSON does not allow them.
#include "lora/base/python_json.h"

#include <cmath>

#include "support/expect_error.h"

namespace lora {
namespace {

Json parse_python(std::string_view text) {
  return parse_python_json(text, "f.jsonl", ErrorKind::kData, 7);
}

TEST(PythonJson, ReadsNonFiniteNumbers) {
  const std::string text = R"({"a": NaN, "b": [1.5, Infinity, -Infinity,NaN], "c": "NaN, \"Infinity\\", "d": -0.5, "e": 0.0})";
  const Json value = parse_python(text);
  EXPECT_TRUE(std::isnan(value["a"].get<double>()));
  EXPECT_EQ(value["b"][1].get<double>(), INFINITY);
  EXPECT_EQ(value["b"][2].get<double>(), -INFINITY);
  EXPECT_EQ(value["c"], "NaN, \"Infinity\\");
  EXPECT_EQ(value["e"], 0.0);
  EXPECT_EQ(json_line(value), R"({"a":NaN,"b":[1.5,Infinity,-Infinity,NaN],"c":"NaN, \"Infinity\\","d":-0.5,"e":0.0})");
  EXPECT_EQ(type_name(value["a"]), "NaN");
  EXPECT_EQ(shown(value["b"]), "[1.5,Infinity,-Infinity,NaN]");
  EXPECT_TRUE(std::isnan(parse_python("NaN").get<double>()));
  EXPECT_EQ(parse_python("-Infinity").get<double>(), -INFINITY);
  for (const char* text : {"nan", "NaN1", "-NaN", "Infinit", "+Infinity", "[NaN NaN]", "1NaN", "{NaN: 1}"}) {
    test::expect_error(ErrorKind::kData, {"f.jsonl:7:", "is not valid JSON"}, [&] { parse_python(text); });
  }
}

TEST(PythonJson, IntegersKeepTheirDigits) {
  const std::string text =
      R"([123456789012345678901,-123456789012345678901,18446744073709551615,18446744073709551616,-9223372036854775808,)"
      R"(-9223372036854775809,1e30,123456789012345678901.0])";
  const Json value = parse_python(text);
  EXPECT_EQ(large_integer(value[0]), "123456789012345678901");
  EXPECT_EQ(large_integer(value[1]), "-123456789012345678901");
  EXPECT_EQ(large_integer(value[2]), std::nullopt);
  EXPECT_EQ(large_integer(value[3]), "18446744073709551616");
  EXPECT_EQ(value[4].get<int64_t>(), INT64_MIN);
  EXPECT_EQ(large_integer(value[5]), "-9223372036854775809");
  EXPECT_TRUE(value[6].is_number_float());
  EXPECT_TRUE(value[7].is_number_float());
  EXPECT_EQ(type_name(value[0]), "an integer");
  EXPECT_EQ(shown(value[0]), "123456789012345678901");
  EXPECT_EQ(json_line(parse_python("{\"a\":{\"b\":[99999999999999999999]}}")), "{\"a\":{\"b\":[99999999999999999999]}}");
  // Only parse_python_json keeps the digits; elsewhere such a number becomes a double, as in other JSON readers.
  EXPECT_TRUE(parse_json("123456789012345678901", "f", ErrorKind::kData).is_number_float());
}

}  // namespace
}  // namespace lora
