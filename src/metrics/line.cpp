#include "metrics/line.h"

#include <array>
#include <cmath>
#include <cstdio>

#include "lora/base/text.h"

namespace lora::metrics {
namespace {

constexpr std::string_view kEvalPrefix = "eval_";

/// A number that JSON cannot represent (NaN, infinity) is null in a row that was read from a file.
double number(const Json& value) {
  return value.is_number() ? value.get<double>() : std::nan("");
}

std::string training_part(const Json& row, const std::string& unit) {
  std::string line;
  const auto add = [&](const char* key, const char* format) {
    if (row.contains(key)) {
      line += "  " + formatted(format, number(row[key]));
    }
  };
  add("epoch", "epoch %.2f");
  add("loss", "loss %.4f");
  add("grad_norm", "grad_norm %.3f");
  add("learning_rate", "lr %.2e");
  if (row.contains("tokens_per_second")) {
    const double rate = number(row["tokens_per_second"]);
    line += "  " + (std::isfinite(rate) ? rate_text(rate) : "nan") + " " + unit + "/s";
  }
  return line;
}

std::string evaluation_part(const Json& row) {
  std::string line = "  evaluation:";
  for (const auto& [key, value] : row.items()) {
    if (!key.starts_with(kEvalPrefix)) {
      continue;
    }
    const std::string name = key.substr(kEvalPrefix.size());
    // Four digits, including trailing zeros; a decimal point at the end of a large number would look like a mistake.
    const bool is_large = value.is_number() && std::abs(value.get<double>()) >= 999.95;
    const char* format = name == "loss" ? "%.4f" : is_large ? "%.4g" : "%#.4g";
    const std::string text = value.is_string()           ? value.get<std::string>()
                             : value.is_number_integer() ? with_thousands(value.get<int64_t>())
                                                         : formatted(format, number(value));
    line += (line.back() == ':' ? " " : "  ") + name + " " + text;
  }
  return line;
}

}  // namespace

std::string formatted(const char* format, double value) {
  std::array<char, 400> buffer{};  // the longest double in %f has 309 digits before its point
  std::snprintf(buffer.data(), buffer.size(), format, value);
  return buffer.data();
}

std::string rate_text(double per_second) {
  constexpr double kSmall = 9.995;  // the digits of smaller ones are what is read
  return per_second < kSmall ? formatted("%.2f", per_second) : with_thousands(std::llround(per_second));
}

std::string console_line(const Json& row, int64_t total_steps, const std::string& unit) {
  const bool is_evaluation = !row.contains("loss") && row.contains("eval_loss");
  return "step " + row.value("step", Json(0)).dump() + "/" + std::to_string(total_steps) +
         (is_evaluation ? evaluation_part(row) : training_part(row, unit));
}

}  // namespace lora::metrics
