#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/jinja/operations.h"

namespace lora::tokenizer::jinja {

/// A node of an expression's tree.
class Expression {
 public:
  explicit Expression(Position at) : at(at) {}
  virtual ~Expression() = default;
  Expression(const Expression&) = delete;
  Expression& operator=(const Expression&) = delete;

  /// Throws Failure.
  Value evaluate(Runtime& runtime, const ScopePtr& scope) const {
    const Runtime::Level level(runtime, at);
    return compute(runtime, scope);
  }

  Position at;
  int height = 1;  ///< of the tree below; limited by the parser

 protected:
  virtual Value compute(Runtime& runtime, const ScopePtr& scope) const = 0;
};
using ExpressionPtr = std::unique_ptr<Expression>;

class Constant : public Expression {
 public:
  Constant(Position at, Value value) : Expression(at), value_(std::move(value)) {}

 protected:
  Value compute(Runtime&, const ScopePtr&) const override { return value_; }

 private:
  Value value_;
};

class Name : public Expression {
 public:
  Name(Position at, std::string name) : Expression(at), name_(std::move(name)) {}

 protected:
  Value compute(Runtime& runtime, const ScopePtr& scope) const override;

 private:
  std::string name_;
};

/// [a, b] and (a, b).
class ListDisplay : public Expression {
 public:
  ListDisplay(Position at, std::vector<ExpressionPtr> items, Sequence::Kind kind) : Expression(at), items_(std::move(items)), kind_(kind) {}

 protected:
  Value compute(Runtime& runtime, const ScopePtr& scope) const override;

 private:
  std::vector<ExpressionPtr> items_;
  Sequence::Kind kind_;
};

class DictDisplay : public Expression {
 public:
  using Entries = std::vector<std::pair<ExpressionPtr, ExpressionPtr>>;
  DictDisplay(Position at, Entries entries) : Expression(at), entries_(std::move(entries)) {}

 protected:
  Value compute(Runtime& runtime, const ScopePtr& scope) const override;

 private:
  Entries entries_;
};

class AttributeAccess : public Expression {
 public:
  AttributeAccess(Position at, ExpressionPtr object, std::string name)
      : Expression(at), object_(std::move(object)), name_(std::move(name)) {}

 protected:
  Value compute(Runtime& runtime, const ScopePtr& scope) const override;

 private:
  ExpressionPtr object_;
  std::string name_;
};

class ItemAccess : public Expression {
 public:
  ItemAccess(Position at, ExpressionPtr object, ExpressionPtr key) : Expression(at), object_(std::move(object)), key_(std::move(key)) {}

 protected:
  Value compute(Runtime& runtime, const ScopePtr& scope) const override;

 private:
  ExpressionPtr object_;
  ExpressionPtr key_;
};

/// obj[a:b:c]; null for an omitted part.
class SliceAccess : public Expression {
 public:
  SliceAccess(Position at, ExpressionPtr object, std::vector<ExpressionPtr> parts)
      : Expression(at), object_(std::move(object)), parts_(std::move(parts)) {}

 protected:
  Value compute(Runtime& runtime, const ScopePtr& scope) const override;

 private:
  ExpressionPtr object_;
  std::vector<ExpressionPtr> parts_;
};

/// The arguments of a call as written in the template.
struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr more_positional;  ///< *list
  ExpressionPtr more_named;       ///< **dict

  Arguments evaluate(Runtime& runtime, const ScopePtr& scope) const;
};

class Call : public Expression {
 public:
  Call(Position at, ExpressionPtr function, CallArguments arguments)
      : Expression(at), function_(std::move(function)), arguments_(std::move(arguments)) {}

  /// With an additional named argument: the caller of a call block.
  Value evaluate_with(Runtime& runtime, const ScopePtr& scope, const std::string& name, Value value) const;

 protected:
  Value compute(Runtime& runtime, const ScopePtr& scope) const override;

 private:
  ExpressionPtr function_;
  CallArguments arguments_;
};

/// value|name(arguments); a filter block passes its value separately.
class FilterCall : public Expression {
 public:
  FilterCall(Position at, ExpressionPtr value, std::string name, CallArguments arguments)
      : Expression(at), value_(std::move(value)), name_(std::move(name)), arguments_(std::move(arguments)) {}

  Value apply(Runtime& runtime, const ScopePtr& scope, const Value& value) const;

 protected:
  Value compute(Runtime& runtime, const ScopePtr& scope) const override;

 private:
  ExpressionPtr value_;
  std::string name_;
  CallArguments arguments_;
};

class TestCall : public Expression {
 public:
  TestCall(Position at, ExpressionPtr value, std::string name, CallArguments arguments)
      : Expression(at), value_(std::move(value)), name_(std::move(name)), arguments_(std::move(arguments)) {}

 protected:
  Value compute(Runtime& runtime, const ScopePtr& scope) const override;

 private:
  ExpressionPtr value_;
  std::string name_;
  CallArguments arguments_;
};

enum class UnaryOperator { kNot, kNegative, kPositive };

class Unary : public Expression {
 public:
  Unary(Position at, UnaryOperator op, ExpressionPtr value) : Expression(at), op_(op), value_(std::move(value)) {}

 protected:
  Value compute(Runtime& runtime, const ScopePtr& scope) const override;

 private:
  UnaryOperator op_;
  ExpressionPtr value_;
};

class Binary : public Expression {
 public:
  Binary(Position at, BinaryOperator op, ExpressionPtr left, ExpressionPtr right)
      : Expression(at), op_(op), left_(std::move(left)), right_(std::move(right)) {}

 protected:
  Value compute(Runtime& runtime, const ScopePtr& scope) const override;

 private:
  BinaryOperator op_;
  ExpressionPtr left_;
  ExpressionPtr right_;
};

/// and, or: evaluate to one of their operands.
class Logical : public Expression {
 public:
  Logical(Position at, bool is_and, ExpressionPtr left, ExpressionPtr right)
      : Expression(at), is_and_(is_and), left_(std::move(left)), right_(std::move(right)) {}

 protected:
  Value compute(Runtime& runtime, const ScopePtr& scope) const override;

 private:
  bool is_and_;
  ExpressionPtr left_;
  ExpressionPtr right_;
};

enum class Comparison { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kNotIn };

/// a < b < c: each operand is evaluated once.
class ComparisonChain : public Expression {
 public:
  using Operands = std::vector<std::pair<Comparison, ExpressionPtr>>;
  ComparisonChain(Position at, ExpressionPtr first, Operands rest) : Expression(at), first_(std::move(first)), rest_(std::move(rest)) {}

 protected:
  Value compute(Runtime& runtime, const ScopePtr& scope) const override;

 private:
  ExpressionPtr first_;
  Operands rest_;
};

/// a ~ b ~ c: the concatenated texts.
class Concatenation : public Expression {
 public:
  Concatenation(Position at, std::vector<ExpressionPtr> parts) : Expression(at), parts_(std::move(parts)) {}

 protected:
  Value compute(Runtime& runtime, const ScopePtr& scope) const override;

 private:
  std::vector<ExpressionPtr> parts_;
};

/// a if condition else b; b may be null.
class Conditional : public Expression {
 public:
  Conditional(Position at, ExpressionPtr condition, ExpressionPtr then, ExpressionPtr otherwise)
      : Expression(at), condition_(std::move(condition)), then_(std::move(then)), otherwise_(std::move(otherwise)) {}

 protected:
  Value compute(Runtime& runtime, const ScopePtr& scope) const override;

 private:
  ExpressionPtr condition_;
  ExpressionPtr then_;
  ExpressionPtr otherwise_;
};

}  // namespace lora::tokenizer::jinja
