#pragma once
#include <string>
#include <vector>

#include "tokenizer/jinja/lexer.h"

namespace lora::tokenizer::jinja {

/// Reads the tokens of a template one by one.
class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& current() const { return tokens_[at_]; }
  const Token& after() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  const Token& previous() const { return tokens_[at_ == 0 ? 0 : at_ - 1]; }
  Token take() { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_[at_]; }

  bool skip_name(std::string_view name) { return skip_if(current().is_name(name)); }
  bool skip_operator(std::string_view op) { return skip_if(current().is_operator(op)); }
  Token expect_operator(std::string_view op) {
    if (!current().is_operator(op)) {
      fail_expected("'" + std::string(op) + "'");
    }
    return take();
  }
  Token expect(TokenKind kind, const std::string& what) {
    if (current().kind != kind) {
      fail_expected(what);
    }
    return take();
  }
  void expect_name(std::string_view name) {
    if (!skip_name(name)) {
      fail_expected("'" + std::string(name) + "'");
    }
  }
  [[noreturn]] void fail_expected(const std::string& what) const {
    fail("unexpected " + (current().kind == TokenKind::kEnd ? "end of the template" : "'" + current().text + "'") + ", expected " + what);
  }
  [[noreturn]] void fail(const std::string& message) const { throw Failure(current().at, message); }

 private:
  bool skip_if(bool is_there) {
    at_ += is_there ? 1 : 0;
    return is_there;
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
};

}  // namespace lora::tokenizer::jinja
