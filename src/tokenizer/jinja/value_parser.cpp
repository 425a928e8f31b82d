// The parts of ExpressionParser that read values and what follows them: attributes, calls, filters, tests.
#include <algorithm>
#include <charconv>

#include "tokenizer/jinja/expression_parser.h"

namespace lora::tokenizer::jinja {
namespace {

Value text_value(std::string text) {
  return Value(std::make_shared<const std::string>(std::move(text)));
}

}  // namespace

ExpressionPtr ExpressionParser::primary() {
  const Token token = tokens_.current();
  switch (token.kind) {
    case TokenKind::kName:
      tokens_.take();
      return named(token);
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      tokens_.take();
      return number(token);
    case TokenKind::kString: {
      std::string text;
      while (tokens_.current().kind == TokenKind::kString) {
        text += tokens_.take().text;
      }
      return node<Constant>(0, token.at, text_value(std::move(text)));
    }
    default:
      break;
  }
  if (token.is_operator("[")) {
    return list();
  }
  if (token.is_operator("{")) {
    return dict();
  }
  if (!token.is_operator("(")) {
    tokens_.fail_expected("an expression");
  }
  tokens_.take();
  const bool is_empty = tokens_.current().is_operator(")");
  ExpressionPtr value = is_empty ? node<ListDisplay>(0, token.at, std::vector<ExpressionPtr>(), Sequence::Kind::kTuple) : tuple();
  tokens_.expect_operator(")");
  return value;
}

ExpressionPtr ExpressionParser::named(const Token& token) {
  const std::string& name = token.text;
  if (name == "true" || name == "True" || name == "false" || name == "False") {
    return node<Constant>(0, token.at, Value(name == "true" || name == "True"));
  }
  if (name == "none" || name == "None") {
    return node<Constant>(0, token.at, Value());
  }
  names.varargs = names.varargs || name == "varargs";
  names.kwargs = names.kwargs || name == "kwargs";
  names.caller = names.caller || name == "caller";
  return node<Name>(0, token.at, name);
}

ExpressionPtr ExpressionParser::number(const Token& token) {
  if (token.kind == TokenKind::kFloat) {
    return node<Constant>(0, token.at, Value(std::strtod(token.text.c_str(), nullptr)));
  }
  std::string_view digits = token.text;
  int base = 10;
  for (const auto& [letter, of_base] : {std::pair('x', 16), std::pair('o', 8), std::pair('b', 2)}) {
    if (digits.size() > 2 && (digits[1] | 0x20) == letter) {
      base = of_base;
    }
  }
  digits.remove_prefix(base != 10 ? 2 : 0);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error == std::errc::result_out_of_range && base == 10) {
    return node<Constant>(digits.size(), token.at, Value(std::make_shared<const LargeInteger>(LargeInteger{std::string(digits)})));
  }
  if (error != std::errc() || end != digits.data() + digits.size()) {
    throw Failure(token.at, "found the number '" + token.text + "', expected an integer of at most 64 bits");
  }
  return node<Constant>(0, token.at, Value(value));
}

ExpressionPtr ExpressionParser::list() {
  const Position at = tokens_.take().at;
  std::vector<ExpressionPtr> items;
  int height = 0;
  while (!tokens_.current().is_operator("]")) {
    if (!items.empty()) {
      tokens_.expect_operator(",");
      if (tokens_.current().is_operator("]")) {
        break;
      }
    }
    items.push_back(expression());
    height = std::max(height, height_of(items.back()));
  }
  tokens_.expect_operator("]");
  return node<ListDisplay>(height, at, std::move(items), Sequence::Kind::kList);
}

ExpressionPtr ExpressionParser::dict() {
  const Position at = tokens_.take().at;
  DictDisplay::Entries entries;
  int height = 0;
  while (!tokens_.current().is_operator("}")) {
    if (!entries.empty()) {
      tokens_.expect_operator(",");
      if (tokens_.current().is_operator("}")) {
        break;
      }
    }
    ExpressionPtr key = expression();
    tokens_.expect_operator(":");
    entries.emplace_back(std::move(key), expression());
    height = std::max({height, height_of(entries.back().first), height_of(entries.back().second)});
  }
  tokens_.expect_operator("}");
  return node<DictDisplay>(height, at, std::move(entries));
}

ExpressionPtr ExpressionParser::postfix(ExpressionPtr value) {
  while (true) {
    if (tokens_.current().is_operator(".") || tokens_.current().is_operator("[")) {
      value = subscript(std::move(value));
    } else if (tokens_.current().is_operator("(")) {
      value = call(std::move(value));
    } else {
      return value;
    }
  }
}

ExpressionPtr ExpressionParser::filtered(ExpressionPtr value) {
  while (true) {
    if (tokens_.current().is_operator("|")) {
      const Position at = tokens_.take().at;
      std::string name = dotted_name();
      int height = height_of(value);
      CallArguments given = tokens_.current().is_operator("(") ? arguments(height) : CallArguments();
      value = node<FilterCall>(height, at, std::move(value), std::move(name), std::move(given));
    } else if (tokens_.current().is_name("is")) {
      value = tested(std::move(value));
    } else if (tokens_.current().is_operator("(")) {
      value = call(std::move(value));
    } else {
      return value;
    }
  }
}

FilterChain ExpressionParser::filters(bool inline_start) {
  FilterChain chain;
  while (inline_start || tokens_.current().is_operator("|")) {
    const Position at = inline_start ? tokens_.current().at : tokens_.take().at;
    inline_start = false;
    std::string name = dotted_name();
    int height = 0;
    CallArguments given = tokens_.current().is_operator("(") ? arguments(height) : CallArguments();
    chain.push_back(std::make_unique<FilterCall>(at, nullptr, std::move(name), std::move(given)));
  }
  return chain;
}

ExpressionPtr ExpressionParser::subscript(ExpressionPtr value) {
  const Token token = tokens_.take();
  int height = height_of(value);
  if (token.text == ".") {
    if (tokens_.current().kind == TokenKind::kInteger) {
      ExpressionPtr key = number(tokens_.take());
      return node<ItemAccess>(height, token.at, std::move(value), std::move(key));
    }
    return node<AttributeAccess>(height, token.at, std::move(value), tokens_.expect(TokenKind::kName, "a name or a number").text);
  }
  std::vector<ExpressionPtr> parts;
  parts.push_back(tokens_.current().is_operator(":") ? nullptr : expression());
  const bool is_slice = tokens_.current().is_operator(":");
  while (parts.size() < 3 && tokens_.skip_operator(":")) {
    const bool is_left_out = tokens_.current().is_operator(":") || tokens_.current().is_operator("]");
    parts.push_back(is_left_out ? nullptr : expression());
  }
  for (const ExpressionPtr& part : parts) {
    height = std::max(height, height_of(part));
  }
  tokens_.expect_operator("]");
  return is_slice ? node<SliceAccess>(height, token.at, std::move(value), std::move(parts))
                  : node<ItemAccess>(height, token.at, std::move(value), std::move(parts.front()));
}

bool ExpressionParser::begins_argument() const {
  const Token& token = tokens_.current();
  const bool is_value = token.kind == TokenKind::kName || token.kind == TokenKind::kString || token.kind == TokenKind::kInteger ||
                        token.kind == TokenKind::kFloat || token.is_operator("[") || token.is_operator("{");
  return is_value && !token.is_name("else") && !token.is_name("or") && !token.is_name("and");
}

ExpressionPtr ExpressionParser::tested(ExpressionPtr value) {
  const Position at = tokens_.take().at;
  const bool negated = tokens_.skip_name("not");
  std::string name = dotted_name();
  CallArguments given;
  int height = height_of(value);
  if (tokens_.current().is_operator("(")) {
    given = arguments(height);
  } else if (begins_argument()) {
    if (tokens_.current().is_name("is")) {
      tokens_.fail("tests cannot be chained with 'is'");
    }
    given.positional.push_back(postfix(primary()));
    height = std::max(height, height_of(given.positional.back()));
  }
  ExpressionPtr test = node<TestCall>(height, at, std::move(value), std::move(name), std::move(given));
  return negated ? node<Unary>(test->height, at, UnaryOperator::kNot, std::move(test)) : std::move(test);
}

ExpressionPtr ExpressionParser::call(ExpressionPtr function) {
  const Position at = tokens_.current().at;
  int height = height_of(function);
  CallArguments given = arguments(height);
  return node<Call>(height, at, std::move(function), std::move(given));
}

CallArguments ExpressionParser::arguments(int& height) {
  CallArguments result;
  const auto take = [&] {
    ExpressionPtr value = expression();
    height = std::max(height, height_of(value));
    return value;
  };
  tokens_.expect_operator("(");
  for (bool is_first = true; !tokens_.current().is_operator(")"); is_first = false) {
    if (!is_first) {
      tokens_.expect_operator(",");
      if (tokens_.current().is_operator(")")) {
        break;
      }
    }
    const bool is_named = tokens_.current().kind == TokenKind::kName && tokens_.after().is_operator("=");
    if (result.more_named || (result.more_positional && !is_named && !tokens_.current().is_operator("**"))) {
      tokens_.fail("an argument follows one that it must precede");
    }
    if (tokens_.skip_operator("*")) {
      result.more_positional = take();
    } else if (tokens_.skip_operator("**")) {
      result.more_named = take();
    } else if (is_named) {
      std::string name = tokens_.take().text;
      tokens_.take();
      result.named.emplace_back(std::move(name), take());
    } else if (!result.named.empty()) {
      tokens_.fail("an unnamed argument follows a named one");
    } else {
      result.positional.push_back(take());
    }
  }
  tokens_.expect_operator(")");
  return result;
}

std::string ExpressionParser::dotted_name() {
  std::string name = tokens_.expect(TokenKind::kName, "a name").text;
  while (tokens_.skip_operator(".")) {
    name += "." + tokens_.expect(TokenKind::kName, "a name").text;
  }
  return name;
}

}  // namespace lora::tokenizer::jinja
