#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tokenizer/jinja/expressions.h"

namespace lora::tokenizer::jinja {

/// How a statement ended.
enum class Flow { kNext, kBreak, kContinue };

/// A node of the template itself.
class Statement {
 public:
  explicit Statement(Position at) : at(at) {}
  virtual ~Statement() = default;
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  /// Appends its text to `output`. Throws Failure.
  Flow execute(Runtime& runtime, const ScopePtr& scope, std::string& output) const {
    const Runtime::Level level(runtime, at);
    return run(runtime, scope, output);
  }

  Position at;

 protected:
  virtual Flow run(Runtime& runtime, const ScopePtr& scope, std::string& output) const = 0;
};

/// A sequence of statements.
class Block {
 public:
  void add(std::unique_ptr<Statement> statement) { statements_.push_back(std::move(statement)); }
  bool is_empty() const { return statements_.empty(); }
  Flow execute(Runtime& runtime, const ScopePtr& scope, std::string& output) const;
  /// Its text when executed in a new scope.
  std::string text(Runtime& runtime, const ScopePtr& scope) const;

 private:
  std::vector<std::unique_ptr<Statement>> statements_;
};

/// The target of an assignment: a name, an attribute of a namespace, or several of them.
struct Target {
  Position at;
  std::string name;
  std::string attribute;      ///< unless empty, an attribute of the namespace `name`
  std::vector<Target> parts;  ///< of a tuple
  bool is_tuple = false;

  void assign(Runtime& runtime, Scope& scope, const Value& value) const;
};

class PlainText : public Statement {
 public:
  PlainText(Position at, std::string text) : Statement(at), text_(std::move(text)) {}

 protected:
  Flow run(Runtime& runtime, const ScopePtr& scope, std::string& output) const override;

 private:
  std::string text_;
};

class Print : public Statement {
 public:
  explicit Print(ExpressionPtr value) : Statement(value->at), value_(std::move(value)) {}

 protected:
  Flow run(Runtime& runtime, const ScopePtr& scope, std::string& output) const override;

 private:
  ExpressionPtr value_;
};

class If : public Statement {
 public:
  struct Branch {
    ExpressionPtr condition;  ///< null: else
    Block body;
  };
  If(Position at, std::vector<Branch> branches) : Statement(at), branches_(std::move(branches)) {}

 protected:
  Flow run(Runtime& runtime, const ScopePtr& scope, std::string& output) const override;

 private:
  std::vector<Branch> branches_;
};

class For : public Statement {
 public:
  For(Position at, Target target, ExpressionPtr items, ExpressionPtr condition, Block body, Block otherwise)
      : Statement(at),
        target_(std::move(target)),
        items_(std::move(items)),
        condition_(std::move(condition)),
        body_(std::move(body)),
        otherwise_(std::move(otherwise)) {}

 protected:
  Flow run(Runtime& runtime, const ScopePtr& scope, std::string& output) const override;

 private:
  Target target_;
  ExpressionPtr items_;
  ExpressionPtr condition_;  ///< null: every item
  Block body_;
  Block otherwise_;
};

class Set : public Statement {
 public:
  Set(Position at, Target target, ExpressionPtr value) : Statement(at), target_(std::move(target)), value_(std::move(value)) {}

 protected:
  Flow run(Runtime& runtime, const ScopePtr& scope, std::string& output) const override;

 private:
  Target target_;
  ExpressionPtr value_;
};

using FilterChain = std::vector<std::unique_ptr<FilterCall>>;

/// {% set name %}…{% endset %}
class SetBlock : public Statement {
 public:
  SetBlock(Position at, Target target, FilterChain filters, Block body)
      : Statement(at), target_(std::move(target)), filters_(std::move(filters)), body_(std::move(body)) {}

 protected:
  Flow run(Runtime& runtime, const ScopePtr& scope, std::string& output) const override;

 private:
  Target target_;
  FilterChain filters_;
  Block body_;
};

class FilterBlock : public Statement {
 public:
  FilterBlock(Position at, FilterChain filters, Block body) : Statement(at), filters_(std::move(filters)), body_(std::move(body)) {}

 protected:
  Flow run(Runtime& runtime, const ScopePtr& scope, std::string& output) const override;

 private:
  FilterChain filters_;
  Block body_;
};

class With : public Statement {
 public:
  using Values = std::vector<std::pair<Target, ExpressionPtr>>;
  With(Position at, Values values, Block body) : Statement(at), values_(std::move(values)), body_(std::move(body)) {}

 protected:
  Flow run(Runtime& runtime, const ScopePtr& scope, std::string& output) const override;

 private:
  Values values_;
  Block body_;
};

/// The definition of a macro; macro values refer to it, and the template outlives them.
struct MacroBody {
  struct Parameter {
    std::string name;
    ExpressionPtr fallback;  ///< null: undefined if the argument is missing
  };
  std::string name;
  std::vector<Parameter> parameters;
  bool takes_more_positional = false;  ///< its body uses `varargs`
  bool takes_more_named = false;       ///< its body uses `kwargs`
  bool takes_caller = false;           ///< its body uses `caller`
  Block body;
};

class DefineMacro : public Statement {
 public:
  DefineMacro(Position at, MacroBody macro) : Statement(at), macro_(std::move(macro)) {}

 protected:
  Flow run(Runtime& runtime, const ScopePtr& scope, std::string& output) const override;

 private:
  MacroBody macro_;
};

/// {% call(…) macro(…) %}…{% endcall %}
class CallBlock : public Statement {
 public:
  CallBlock(Position at, std::unique_ptr<Call> call, MacroBody caller)
      : Statement(at), call_(std::move(call)), caller_(std::move(caller)) {}

 protected:
  Flow run(Runtime& runtime, const ScopePtr& scope, std::string& output) const override;

 private:
  std::unique_ptr<Call> call_;
  MacroBody caller_;
};

/// {% generation %}…{% endgeneration %}: the assistant's text.
class Generation : public Statement {
 public:
  Generation(Position at, Block body) : Statement(at), body_(std::move(body)) {}

 protected:
  Flow run(Runtime& runtime, const ScopePtr& scope, std::string& output) const override;

 private:
  Block body_;
};

class Jump : public Statement {
 public:
  Jump(Position at, Flow flow) : Statement(at), flow_(flow) {}

 protected:
  Flow run(Runtime&, const ScopePtr&, std::string&) const override { return flow_; }

 private:
  Flow flow_;
};

}  // namespace lora::tokenizer::jinja
