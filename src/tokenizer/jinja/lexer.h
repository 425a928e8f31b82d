#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/failure.h"

namespace lora::tokenizer::jinja {

enum class TokenKind { kText, kPrintBegin, kPrintEnd, kBlockBegin, kBlockEnd, kName, kString, kInteger, kFloat, kOperator, kEnd };

struct Token {
  TokenKind kind;
  std::string text;  ///< for a string its value, otherwise the source text
  Position at;

  bool is_name(std::string_view name) const { return kind == TokenKind::kName && text == name; }
  bool is_operator(std::string_view op) const { return kind == TokenKind::kOperator && text == op; }
};

/// Splits a template into tokens as Jinja does with trim_blocks and lstrip_blocks; the last one is kEnd. Throws Failure.
std::vector<Token> tokenize(std::string_view source);

}  // namespace lora::tokenizer::jinja
