#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/failure.h"

namespace lora::tokenizer::jinja {

enum class TokenKind { kText, kPrintBegin, kPrintEnd, kBlockBegin, kBlockEnd, kName, kString, kInteger, kFloat, kOperator, kEnd };

struct Token {
  TokenKind kind;
  std::string text;  ///< a string without quotes and escapes, else what is written
  Position at;

  bool is_name(std::string_view name) const { return kind == TokenKind::kName && text == name; }
  bool is_operator(std::string_view op) const { return kind == TokenKind::kOperator && text == op; }
};

/// Cuts a template as Jinja does with trim_blocks and lstrip_blocks; the last token is kEnd. Throws Failure.
std::vector<Token> tokenize(std::string_view source);

}  // namespace lora::tokenizer::jinja
