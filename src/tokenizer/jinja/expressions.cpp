#include "tokenizer/jinja/expressions.h"

#include "tokenizer/jinja/filters.h"

namespace lora::tokenizer::jinja {

Value Name::compute(Runtime&, const ScopePtr& scope) const {
  if (const Value* value = scope->find(name_)) {
    return *value;
  }
  const Value* known = global_value(name_);
  return known != nullptr ? *known : Value::undefined("'" + name_ + "' is undefined");
}

Value ListDisplay::compute(Runtime& runtime, const ScopePtr& scope) const {
  std::vector<Value> items;
  for (const ExpressionPtr& item : items_) {
    items.push_back(item->evaluate(runtime, scope));
  }
  return runtime.list(std::move(items), kind_);
}

Value DictDisplay::compute(Runtime& runtime, const ScopePtr& scope) const {
  std::vector<std::pair<Value, Value>> entries;
  for (const auto& [key, value] : entries_) {
    Value key_value = key->evaluate(runtime, scope);
    entries.emplace_back(std::move(key_value), value->evaluate(runtime, scope));
  }
  runtime.move_to(at);
  return runtime.mapping(std::move(entries));
}

Value AttributeAccess::compute(Runtime& runtime, const ScopePtr& scope) const {
  const Value object = object_->evaluate(runtime, scope);
  runtime.move_to(at);
  return attribute_of(runtime, object, name_);
}

Value ItemAccess::compute(Runtime& runtime, const ScopePtr& scope) const {
  const Value object = object_->evaluate(runtime, scope);
  const Value key = key_->evaluate(runtime, scope);
  runtime.move_to(at);
  return item_of(runtime, object, key);
}

Value SliceAccess::compute(Runtime& runtime, const ScopePtr& scope) const {
  const Value object = object_->evaluate(runtime, scope);
  Value parts[3];
  for (size_t i = 0; i < parts_.size(); ++i) {
    parts[i] = parts_[i] ? parts_[i]->evaluate(runtime, scope) : Value();
  }
  runtime.move_to(at);
  return slice_of(runtime, object, parts[0], parts[1], parts[2]);
}

Arguments CallArguments::evaluate(Runtime& runtime, const ScopePtr& scope) const {
  Arguments arguments;
  for (const ExpressionPtr& argument : positional) {
    arguments.positional.push_back(argument->evaluate(runtime, scope));
  }
  for (const auto& [name, argument] : named) {
    arguments.named.emplace_back(name, argument->evaluate(runtime, scope));
  }
  if (more_positional) {
    for (Value& item : items_of(runtime, more_positional->evaluate(runtime, scope))) {
      arguments.positional.push_back(std::move(item));
    }
  }
  if (more_named) {
    const Value more = more_named->evaluate(runtime, scope);
    if (more.mapping() == nullptr) {
      runtime.fail("argument after ** must be a mapping, not " + more.type());
    }
    for (const auto& [name, value] : more.mapping()->entries) {
      arguments.named.emplace_back(text_of(runtime, name), value);
    }
  }
  return arguments;
}

Value Call::compute(Runtime& runtime, const ScopePtr& scope) const {
  const Value function = function_->evaluate(runtime, scope);
  const Arguments arguments = arguments_.evaluate(runtime, scope);
  runtime.move_to(at);
  return call(runtime, function, arguments);
}

Value Call::evaluate_with(Runtime& runtime, const ScopePtr& scope, const std::string& name, Value value) const {
  const Value function = function_->evaluate(runtime, scope);
  Arguments arguments = arguments_.evaluate(runtime, scope);
  arguments.named.emplace_back(name, std::move(value));
  runtime.move_to(at);
  return call(runtime, function, arguments);
}

Value FilterCall::compute(Runtime& runtime, const ScopePtr& scope) const {
  return apply(runtime, scope, value_->evaluate(runtime, scope));
}

Value FilterCall::apply(Runtime& runtime, const ScopePtr& scope, const Value& value) const {
  const Arguments arguments = arguments_.evaluate(runtime, scope);
  runtime.move_to(at);
  return apply_filter(runtime, name_, value, arguments);
}

Value TestCall::compute(Runtime& runtime, const ScopePtr& scope) const {
  const Value value = value_->evaluate(runtime, scope);
  const Arguments arguments = arguments_.evaluate(runtime, scope);
  runtime.move_to(at);
  return apply_test(runtime, name_, value, arguments);
}

Value Unary::compute(Runtime& runtime, const ScopePtr& scope) const {
  const Value value = value_->evaluate(runtime, scope);
  runtime.move_to(at);
  if (op_ == UnaryOperator::kNot) {
    return !truth(value);
  }
  const Value negative = negated(runtime, value);
  return op_ == UnaryOperator::kNegative ? negative : value.is_bool() ? Value(value.integer()) : value;
}

Value Binary::compute(Runtime& runtime, const ScopePtr& scope) const {
  const Value left = left_->evaluate(runtime, scope);
  const Value right = right_->evaluate(runtime, scope);
  runtime.move_to(at);
  return binary(runtime, op_, left, right);
}

Value Logical::compute(Runtime& runtime, const ScopePtr& scope) const {
  Value left = left_->evaluate(runtime, scope);
  return truth(left) == is_and_ ? right_->evaluate(runtime, scope) : left;
}

namespace {

bool holds(Runtime& runtime, Comparison comparison, const Value& a, const Value& b) {
  switch (comparison) {
    case Comparison::kEqual:
      return equals(runtime, a, b);
    case Comparison::kNotEqual:
      return !equals(runtime, a, b);
    case Comparison::kLess:
      return is_less(runtime, a, b);
    case Comparison::kGreaterEqual:
      return !is_less(runtime, a, b);
    case Comparison::kGreater:
      return is_less(runtime, b, a);
    case Comparison::kLessEqual:
      return !is_less(runtime, b, a);
    case Comparison::kIn:
      return contains(runtime, b, a);
    case Comparison::kNotIn:
      return !contains(runtime, b, a);
  }
  return false;
}

}  // namespace

Value ComparisonChain::compute(Runtime& runtime, const ScopePtr& scope) const {
  Value left = first_->evaluate(runtime, scope);
  for (const auto& [comparison, operand] : rest_) {
    Value right = operand->evaluate(runtime, scope);
    runtime.move_to(at);
    if (!holds(runtime, comparison, left, right)) {
      return false;
    }
    left = std::move(right);
  }
  return true;
}

Value Concatenation::compute(Runtime& runtime, const ScopePtr& scope) const {
  std::string text;
  for (const ExpressionPtr& part : parts_) {
    const std::string next = text_of(runtime, part->evaluate(runtime, scope));
    runtime.reserve(next.size());
    text += next;
  }
  runtime.move_to(at);
  return runtime.text(std::move(text));
}

Value Conditional::compute(Runtime& runtime, const ScopePtr& scope) const {
  if (truth(condition_->evaluate(runtime, scope))) {
    return then_->evaluate(runtime, scope);
  }
  return otherwise_ ? otherwise_->evaluate(runtime, scope)
                    : Value::undefined("the inline if-expression evaluated to false and no else section was defined");
}

}  // namespace lora::tokenizer::jinja
