#include "tokenizer/jinja/expression_parser.h"

#include <algorithm>
#include <optional>

namespace lora::tokenizer::jinja {
namespace {

std::optional<Comparison> comparison_of(const Token& token) {
  static constexpr std::pair<std::string_view, Comparison> kComparisons[] = {
      {"==", Comparison::kEqual},     {"!=", Comparison::kNotEqual}, {"<", Comparison::kLess},
      {"<=", Comparison::kLessEqual}, {">", Comparison::kGreater},   {">=", Comparison::kGreaterEqual}};
  for (const auto& [op, comparison] : kComparisons) {
    if (token.is_operator(op)) {
      return comparison;
    }
  }
  return std::nullopt;
}

std::optional<BinaryOperator> binary_of(const Token& token, std::string_view operators) {
  static constexpr std::pair<std::string_view, BinaryOperator> kBinary[] = {
      {"+", BinaryOperator::kAdd},    {"-", BinaryOperator::kSubtract},     {"*", BinaryOperator::kMultiply},
      {"/", BinaryOperator::kDivide}, {"//", BinaryOperator::kFloorDivide}, {"%", BinaryOperator::kModulo},
      {"**", BinaryOperator::kPower}};
  for (const auto& [op, binary] : kBinary) {
    if (token.is_operator(op) && (operators.find(" " + std::string(op) + " ") != std::string_view::npos)) {
      return binary;
    }
  }
  return std::nullopt;
}

}  // namespace

ExpressionParser::Level::Level(ExpressionParser& parser) : parser_(parser) {
  if (parser.level_ >= parser.limits_.nesting) {
    parser.tokens_.fail("the template is nested too deeply: found more than " + std::to_string(parser.limits_.nesting) +
                        " levels of blocks and brackets");
  }
  ++parser.level_;
}

void ExpressionParser::require_height(int height) const {
  if (height > limits_.height) {
    tokens_.fail("an expression is too large: found more than " + std::to_string(limits_.height) + " nested operations");
  }
}

ExpressionPtr ExpressionParser::expression(bool conditionals) {
  const Level level(*this);
  ExpressionPtr value = disjunction();
  while (conditionals && tokens_.current().is_name("if")) {
    const Position at = tokens_.take().at;
    ExpressionPtr condition = disjunction();
    ExpressionPtr otherwise = tokens_.skip_name("else") ? expression() : nullptr;
    const int height = std::max({height_of(value), height_of(condition), height_of(otherwise)});
    value = node<Conditional>(height, at, std::move(condition), std::move(value), std::move(otherwise));
  }
  return value;
}

ExpressionPtr ExpressionParser::tuple(bool conditionals) {
  const Position at = tokens_.current().at;
  std::vector<ExpressionPtr> items;
  items.push_back(expression(conditionals));
  if (!tokens_.current().is_operator(",")) {
    return std::move(items.front());
  }
  int height = height_of(items.front());
  while (tokens_.skip_operator(",")) {
    const Token& next = tokens_.current();
    const bool is_end = next.kind == TokenKind::kPrintEnd || next.kind == TokenKind::kBlockEnd || next.is_operator(")");
    if (is_end) {
      break;
    }
    items.push_back(expression(conditionals));
    height = std::max(height, height_of(items.back()));
  }
  return node<ListDisplay>(height, at, std::move(items), Sequence::Kind::kTuple);
}

ExpressionPtr ExpressionParser::disjunction() {
  ExpressionPtr left = conjunction();
  while (tokens_.current().is_name("or")) {
    const Position at = tokens_.take().at;
    ExpressionPtr right = conjunction();
    const int height = std::max(height_of(left), height_of(right));
    left = node<Logical>(height, at, false, std::move(left), std::move(right));
  }
  return left;
}

ExpressionPtr ExpressionParser::conjunction() {
  ExpressionPtr left = negation();
  while (tokens_.current().is_name("and")) {
    const Position at = tokens_.take().at;
    ExpressionPtr right = negation();
    const int height = std::max(height_of(left), height_of(right));
    left = node<Logical>(height, at, true, std::move(left), std::move(right));
  }
  return left;
}

ExpressionPtr ExpressionParser::negation() {
  if (!tokens_.current().is_name("not")) {
    return comparison();
  }
  const Level level(*this);
  const Position at = tokens_.take().at;
  ExpressionPtr value = negation();
  return node<Unary>(height_of(value), at, UnaryOperator::kNot, std::move(value));
}

ExpressionPtr ExpressionParser::comparison() {
  ExpressionPtr first = sum();
  const Position at = tokens_.current().at;
  ComparisonChain::Operands rest;
  int height = height_of(first);
  while (true) {
    std::optional<Comparison> comparison = comparison_of(tokens_.current());
    if (comparison) {
      tokens_.take();
    } else if (tokens_.skip_name("in")) {
      comparison = Comparison::kIn;
    } else if (tokens_.current().is_name("not") && tokens_.after().is_name("in")) {
      tokens_.take();
      tokens_.take();
      comparison = Comparison::kNotIn;
    } else {
      break;
    }
    rest.emplace_back(*comparison, sum());
    height = std::max(height, height_of(rest.back().second));
  }
  return rest.empty() ? std::move(first) : node<ComparisonChain>(height, at, std::move(first), std::move(rest));
}

ExpressionPtr ExpressionParser::sum() {
  ExpressionPtr left = concatenation();
  while (const auto op = binary_of(tokens_.current(), " + - ")) {
    const Position at = tokens_.take().at;
    ExpressionPtr right = concatenation();
    const int height = std::max(height_of(left), height_of(right));
    left = node<Binary>(height, at, *op, std::move(left), std::move(right));
  }
  return left;
}

ExpressionPtr ExpressionParser::concatenation() {
  const Position at = tokens_.current().at;
  std::vector<ExpressionPtr> parts;
  parts.push_back(product());
  int height = height_of(parts.front());
  while (tokens_.skip_operator("~")) {
    parts.push_back(product());
    height = std::max(height, height_of(parts.back()));
  }
  return parts.size() == 1 ? std::move(parts.front()) : node<Concatenation>(height, at, std::move(parts));
}

ExpressionPtr ExpressionParser::product() {
  ExpressionPtr left = power();
  while (const auto op = binary_of(tokens_.current(), " * / // % ")) {
    const Position at = tokens_.take().at;
    ExpressionPtr right = power();
    const int height = std::max(height_of(left), height_of(right));
    left = node<Binary>(height, at, *op, std::move(left), std::move(right));
  }
  return left;
}

ExpressionPtr ExpressionParser::power() {
  ExpressionPtr left = unary(true);
  while (tokens_.current().is_operator("**")) {
    const Position at = tokens_.take().at;
    ExpressionPtr right = unary(true);
    const int height = std::max(height_of(left), height_of(right));
    left = node<Binary>(height, at, BinaryOperator::kPower, std::move(left), std::move(right));
  }
  return left;
}

ExpressionPtr ExpressionParser::unary(bool with_filters) {
  const Token& token = tokens_.current();
  ExpressionPtr value;
  if (token.is_operator("-") || token.is_operator("+")) {
    const Level level(*this);
    const Token sign = tokens_.take();
    ExpressionPtr operand = unary(false);
    value = node<Unary>(height_of(operand), sign.at, sign.text == "-" ? UnaryOperator::kNegative : UnaryOperator::kPositive,
                        std::move(operand));
  } else {
    value = primary();
  }
  value = postfix(std::move(value));
  return with_filters ? filtered(std::move(value)) : std::move(value);
}

}  // namespace lora::tokenizer::jinja
