#pragma once
#include <initializer_list>

#include "tokenizer/jinja/expressions.h"
#include "tokenizer/jinja/statements.h"
#include "tokenizer/jinja/token_stream.h"

namespace lora::tokenizer::jinja {

/// The undeclared names with a meaning in macros that an expression uses.
struct SpecialNames {
  bool varargs = false;
  bool kwargs = false;
  bool caller = false;
};

/// Reads expressions by Jinja's grammar, with one function per level of precedence.
class ExpressionParser {
 public:
  ExpressionParser(TokenStream& tokens, const Limits& limits) : tokens_(tokens), limits_(limits) {}

  /// One expression; without `conditionals`, not "a if b".
  ExpressionPtr expression(bool conditionals = true);
  /// One expression, or a tuple of several that are separated by commas.
  ExpressionPtr tuple(bool conditionals = true);
  /// "|filter|filter", or with `inline_start` without the first '|'.
  FilterChain filters(bool inline_start);

  SpecialNames names;  ///< set while reading; statements check and reset it

  /// One level of nesting of brackets or blocks.
  class Level {
   public:
    explicit Level(ExpressionParser& parser);
    ~Level() { --parser_.level_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    ExpressionParser& parser_;
  };

 private:
  ExpressionPtr disjunction();
  ExpressionPtr conjunction();
  ExpressionPtr negation();
  ExpressionPtr comparison();
  ExpressionPtr sum();
  ExpressionPtr concatenation();
  ExpressionPtr product();
  ExpressionPtr power();
  ExpressionPtr unary(bool with_filters);
  ExpressionPtr primary();
  ExpressionPtr named(const Token& token);
  ExpressionPtr number(const Token& token);
  ExpressionPtr list();
  ExpressionPtr dict();
  ExpressionPtr postfix(ExpressionPtr value);
  ExpressionPtr filtered(ExpressionPtr value);
  ExpressionPtr subscript(ExpressionPtr value);
  ExpressionPtr tested(ExpressionPtr value);
  ExpressionPtr call(ExpressionPtr function);
  CallArguments arguments(int& height);
  std::string dotted_name();
  bool begins_argument() const;

  /// The node above these children; fails if the tree becomes too high.
  template <typename Node, typename... Parts>
  ExpressionPtr node(int height_below, Position at, Parts&&... parts);
  void require_height(int height) const;
  static int height_of(const ExpressionPtr& expression) { return expression ? expression->height : 0; }

  TokenStream& tokens_;
  const Limits& limits_;
  int level_ = 0;
};

template <typename Node, typename... Parts>
ExpressionPtr ExpressionParser::node(int height_below, Position at, Parts&&... parts) {
  require_height(height_below + 1);
  auto made = std::make_unique<Node>(at, std::forward<Parts>(parts)...);
  made->height = height_below + 1;
  return made;
}

}  // namespace lora::tokenizer::jinja
