#include "tokenizer/jinja/parser.h"

#include <algorithm>
#include <map>
#include <utility>

#include "lora/base/text.h"
#include "tokenizer/jinja/expression_parser.h"

namespace lora::tokenizer::jinja {
namespace {

class Parser {
 public:
  Parser(std::vector<Token> tokens, const Limits& limits) : tokens_(std::move(tokens)), expressions_(tokens_, limits) {}

  Program run() {
    Program program;
    program.block = block({});
    program.has_generation = has_generation_;
    return program;
  }

 private:
  using Ends = std::vector<std::string>;

  /// Reads statements up to one of `ends`, whose name is then the current token; without `ends`, up to the end of the template.
  Block block(const Ends& ends) {
    const ExpressionParser::Level level(expressions_);
    Block result;
    while (tokens_.current().kind != TokenKind::kEnd) {
      const Token token = tokens_.take();
      if (token.kind == TokenKind::kText) {
        result.add(std::make_unique<PlainText>(token.at, token.text));
      } else if (token.kind == TokenKind::kPrintBegin) {
        result.add(std::make_unique<Print>(expressions_.tuple()));
        tokens_.expect(TokenKind::kPrintEnd, "'}}'");
      } else {
        const Token& name = tokens_.current();
        if (name.kind == TokenKind::kName && std::find(ends.begin(), ends.end(), name.text) != ends.end()) {
          return result;
        }
        result.add(statement());
        tokens_.expect(TokenKind::kBlockEnd, "'%}'");
      }
    }
    if (!ends.empty()) {
      tokens_.fail("a block does not end: expected " + join(ends, " or "));
    }
    return result;
  }

  /// Reads the rest of a block: '%}', its statements and the name that ends it.
  Block body(const std::string& end) {
    tokens_.expect(TokenKind::kBlockEnd, "'%}'");
    Block result = block({end});
    tokens_.expect_name(end);
    return result;
  }

  std::unique_ptr<Statement> statement() {
    using Read = std::unique_ptr<Statement> (Parser::*)(Position);
    static const std::map<std::string, Read> kStatements{
        {"if", &Parser::if_statement}, {"for", &Parser::for_statement},     {"set", &Parser::set_statement},
        {"macro", &Parser::macro},     {"call", &Parser::call_block},       {"filter", &Parser::filter_block},
        {"with", &Parser::with},       {"generation", &Parser::generation}, {"break", &Parser::jump},
        {"continue", &Parser::jump},
    };
    const Token name = tokens_.current();
    const auto found = name.kind == TokenKind::kName ? kStatements.find(name.text) : kStatements.end();
    if (found == kStatements.end()) {
      std::vector<std::string> known;
      for (const auto& entry : kStatements) {
        known.push_back(entry.first);
      }
      tokens_.fail("found the tag '" + printable(name.text) + "', expected one of " + join(known) + ", raw" +
                   did_you_mean(name.text, known));
    }
    tokens_.take();
    return (this->*found->second)(name.at);
  }

  std::unique_ptr<Statement> if_statement(Position at) {
    std::vector<If::Branch> branches;
    for (std::string name = "if"; name != "endif";) {
      If::Branch branch;
      branch.condition = name == "else" ? nullptr : expressions_.tuple(/*conditionals=*/false);
      tokens_.expect(TokenKind::kBlockEnd, "'%}'");
      branch.body = block(name == "else" ? Ends{"endif"} : Ends{"elif", "else", "endif"});
      branches.push_back(std::move(branch));
      name = tokens_.take().text;
    }
    return std::make_unique<If>(at, std::move(branches));
  }

  std::unique_ptr<Statement> for_statement(Position at) {
    Target item = target(/*attributes=*/false);
    tokens_.expect_name("in");
    ExpressionPtr items = expressions_.tuple(/*conditionals=*/false);
    ExpressionPtr condition = tokens_.skip_name("if") ? expressions_.expression() : nullptr;
    if (tokens_.current().is_name("recursive")) {
      tokens_.fail("recursive loops are not supported");
    }
    tokens_.expect(TokenKind::kBlockEnd, "'%}'");
    ++num_loops_;
    Block inside = block({"else", "endfor"});
    --num_loops_;
    Block otherwise;
    if (tokens_.take().text == "else") {
      otherwise = body("endfor");
    }
    return std::make_unique<For>(at, std::move(item), std::move(items), std::move(condition), std::move(inside), std::move(otherwise));
  }

  std::unique_ptr<Statement> set_statement(Position at) {
    Target name = target(/*attributes=*/true);
    if (tokens_.skip_operator("=")) {
      return std::make_unique<Set>(at, std::move(name), expressions_.tuple());
    }
    FilterChain filters = expressions_.filters(/*inline_start=*/false);
    Block inside = captured("endset");
    return std::make_unique<SetBlock>(at, std::move(name), std::move(filters), std::move(inside));
  }

  std::unique_ptr<Statement> macro(Position at) {
    const SpecialNames outer = expressions_.names;
    MacroBody macro;
    macro.name = plain_name();
    parameters(macro);
    finish_macro(macro, "endmacro", outer);
    return std::make_unique<DefineMacro>(at, std::move(macro));
  }

  std::unique_ptr<Statement> call_block(Position at) {
    MacroBody caller;
    caller.name = "caller";
    const SpecialNames outer = expressions_.names;
    if (tokens_.current().is_operator("(")) {
      parameters(caller);
    }
    ExpressionPtr call = expressions_.expression();
    if (dynamic_cast<Call*>(call.get()) == nullptr) {
      throw Failure(call->at, "expected a call");
    }
    finish_macro(caller, "endcall", outer);
    return std::make_unique<CallBlock>(at, std::unique_ptr<Call>(static_cast<Call*>(call.release())), std::move(caller));
  }

  std::unique_ptr<Statement> filter_block(Position at) {
    FilterChain filters = expressions_.filters(/*inline_start=*/true);
    Block inside = captured("endfilter");
    return std::make_unique<FilterBlock>(at, std::move(filters), std::move(inside));
  }

  std::unique_ptr<Statement> with(Position at) {
    With::Values values;
    while (tokens_.current().kind != TokenKind::kBlockEnd) {
      if (!values.empty()) {
        tokens_.expect_operator(",");
      }
      Target name = target(/*attributes=*/false);
      tokens_.expect_operator("=");
      values.emplace_back(std::move(name), expressions_.expression());
    }
    Block inside = body("endwith");
    return std::make_unique<With>(at, std::move(values), std::move(inside));
  }

  std::unique_ptr<Statement> generation(Position at) {
    has_generation_ = true;
    return std::make_unique<Generation>(at, captured("endgeneration"));
  }

  std::unique_ptr<Statement> jump(Position at) {
    const bool is_break = tokens_.previous().is_name("break");
    if (num_loops_ == 0) {
      throw Failure(at, "found '" + tokens_.previous().text + "' outside of a loop");
    }
    return std::make_unique<Jump>(at, is_break ? Flow::kBreak : Flow::kContinue);
  }

  /// Reads a body whose text is captured as a whole: break and continue cannot leave loops around it.
  Block captured(const std::string& end) {
    const int loops = std::exchange(num_loops_, 0);
    Block result = body(end);
    num_loops_ = loops;
    return result;
  }

  void parameters(MacroBody& macro) {
    tokens_.expect_operator("(");
    while (!tokens_.current().is_operator(")")) {
      if (!macro.parameters.empty()) {
        tokens_.expect_operator(",");
      }
      MacroBody::Parameter parameter{plain_name(), nullptr};
      if (tokens_.skip_operator("=")) {
        parameter.fallback = expressions_.expression();
      } else if (!macro.parameters.empty() && macro.parameters.back().fallback) {
        tokens_.fail("a parameter without a default follows one with a default");
      }
      macro.parameters.push_back(std::move(parameter));
    }
    tokens_.expect_operator(")");
  }

  void finish_macro(MacroBody& macro, const std::string& end, const SpecialNames& outer) {
    expressions_.names = {};
    macro.body = captured(end);
    const SpecialNames used = expressions_.names;
    macro.takes_more_positional = used.varargs;
    macro.takes_more_named = used.kwargs;
    macro.takes_caller = used.caller;
    expressions_.names = {outer.varargs || used.varargs, outer.kwargs || used.kwargs, outer.caller || used.caller};
  }

  std::string plain_name() {
    const Token token = tokens_.expect(TokenKind::kName, "a name");
    for (const char* fixed : {"true", "false", "none", "True", "False", "None"}) {
      if (token.text == fixed) {
        throw Failure(token.at, "cannot assign to '" + token.text + "'");
      }
    }
    return token.text;
  }

  Target single_target(bool attributes) {
    Target result;
    result.at = tokens_.current().at;
    if (tokens_.skip_operator("(")) {
      result = target(attributes);
      tokens_.expect_operator(")");
      return result;
    }
    result.name = plain_name();
    if (attributes && tokens_.skip_operator(".")) {
      result.attribute = tokens_.expect(TokenKind::kName, "a name").text;
    }
    return result;
  }

  Target target(bool attributes) {
    const ExpressionParser::Level level(expressions_);
    Target first = single_target(attributes);
    if (!tokens_.current().is_operator(",")) {
      return first;
    }
    Target several;
    several.at = first.at;
    several.is_tuple = true;
    several.parts.push_back(std::move(first));
    while (tokens_.skip_operator(",")) {
      if (tokens_.current().is_name("in") || tokens_.current().is_operator("=") || tokens_.current().is_operator(")")) {
        break;
      }
      several.parts.push_back(single_target(attributes));
    }
    return several;
  }

  TokenStream tokens_;
  ExpressionParser expressions_;
  int num_loops_ = 0;
  bool has_generation_ = false;
};

}  // namespace

Program parse(std::string_view source, const Limits& limits) {
  if (source.size() > limits.template_bytes) {
    throw Failure({}, "the template is too long: found " + std::to_string(source.size()) + " bytes, expected at most " +
                          std::to_string(limits.template_bytes));
  }
  return Parser(tokenize(source), limits).run();
}

}  // namespace lora::tokenizer::jinja
