// Compares every filter, test and method with Jinja2, for values of each type (scripts/golden/jinja_values.py).
#include <gtest/gtest.h>

#include "lora/base/error.h"
#include "lora/tokenizer/chat_template.h"
#include "support/paths.h"

namespace lora::tokenizer {
namespace {

const Json kPlainMessage{{{"role", "user"}, {"content", "hi"}}};

/// The text, or nothing if the template fails.
std::optional<std::string> rendered_or_why(const std::string& source, std::string& why) {
  try {
    return ChatTemplate("t", source, {}).render({kPlainMessage, nullptr}, false, "row").text;
  } catch (const Error& error) {
    why = error.what();
    return std::nullopt;
  }
}

/// Returns whether the result was compared with text from Jinja2.
bool compare(const Json& expected, const std::string& expression, const std::string& value = "none") {
  const std::string source = "{% set v = " + value + " %}{{ " + expression + " }}";
  std::string why;
  const auto found = rendered_or_why(source, why);
  // Arithmetic beyond 64 bits is the only thing that Jinja2 accepts and this implementation rejects.
  if (expected.is_string() && !found && why.find("more than 64 bits") != std::string::npos) {
    return true;
  }
  if (expected.is_string()) {
    EXPECT_EQ(found.value_or("failed: " + why), expected.get<std::string>()) << source;
  } else if (expected.is_null()) {
    EXPECT_FALSE(found.has_value()) << source << " gives " << *found << ", but fails in Jinja2";
  }
  return expected.is_string();
}

TEST(JinjaValues, EqualThoseOfJinja2) {
  const Json golden = read_json(std::filesystem::path(lora::test::data_folder()) / "chat/jinja_values.json", ErrorKind::kData);
  size_t num_compared = 0;
  for (size_t i = 0; i < golden["values"].size(); ++i) {
    for (size_t j = 0; j < golden["expressions"].size(); ++j) {
      num_compared += compare(golden["results"][i][j], golden["expressions"][j], golden["values"][i]) ? 1 : 0;
    }
  }
  for (const Json& row : golden["cases"]) {
    num_compared += compare(row[1], row[0]) ? 1 : 0;
  }
  EXPECT_GE(num_compared, 2200U);
}

TEST(JinjaValues, TheRandomFilterIsRejectedWithAReason) {
  std::string why;
  EXPECT_FALSE(rendered_or_why("{{ [1, 2]|random }}", why));
  EXPECT_NE(why.find("by chance"), std::string::npos) << why;
  EXPECT_EQ(rendered_or_why("{{ 'random' is filter }}", why), "True");
}

}  // namespace
}  // namespace lora::tokenizer
