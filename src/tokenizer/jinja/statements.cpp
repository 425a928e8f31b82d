#include "tokenizer/jinja/statements.h"

#include "tokenizer/jinja/loop.h"
#include "tokenizer/jinja/macro.h"

namespace lora::tokenizer::jinja {
namespace {

Value filtered(Runtime& runtime, const ScopePtr& scope, const FilterChain& filters, std::string text) {
  Value value = runtime.text(std::move(text));
  for (const auto& filter : filters) {
    value = filter->apply(runtime, scope, value);
  }
  return value;
}

void assign_attribute(Runtime& runtime, Scope& scope, const Target& target, const Value& value) {
  const Value* found = scope.find(target.name);
  auto* object = found != nullptr ? dynamic_cast<Namespace*>(found->object()) : nullptr;
  if (object == nullptr) {
    runtime.fail("cannot assign to '" + target.name + "." + target.attribute + "': '" + target.name + "' is not a namespace");
  }
  object->set(runtime, target.attribute, value);
}

}  // namespace

Flow Block::execute(Runtime& runtime, const ScopePtr& scope, std::string& output) const {
  for (const auto& statement : statements_) {
    const Flow flow = statement->execute(runtime, scope, output);
    if (flow != Flow::kNext) {
      return flow;
    }
  }
  return Flow::kNext;
}

std::string Block::text(Runtime& runtime, const ScopePtr& scope) const {
  std::string text;
  execute(runtime, std::make_shared<Scope>(scope), text);
  runtime.reserve(text.size());
  return text;
}

void Target::assign(Runtime& runtime, Scope& scope, const Value& value) const {
  if (!is_tuple) {
    attribute.empty() ? scope.set(name, value) : assign_attribute(runtime, scope, *this, value);
    return;
  }
  const std::vector<Value> items = items_of(runtime, value);
  if (items.size() != parts.size()) {
    runtime.fail("cannot unpack " + std::to_string(items.size()) + " values: expected " + std::to_string(parts.size()));
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    parts[i].assign(runtime, scope, items[i]);
  }
}

Flow PlainText::run(Runtime& runtime, const ScopePtr&, std::string& output) const {
  runtime.write(output, text_);
  return Flow::kNext;
}

Flow Print::run(Runtime& runtime, const ScopePtr& scope, std::string& output) const {
  const Value value = value_->evaluate(runtime, scope);
  runtime.move_to(at);
  value.is_text() ? runtime.write(output, value.text()) : runtime.write(output, text_of(runtime, value));
  return Flow::kNext;
}

Flow If::run(Runtime& runtime, const ScopePtr& scope, std::string& output) const {
  for (const Branch& branch : branches_) {
    if (!branch.condition || truth(branch.condition->evaluate(runtime, scope))) {
      return branch.body.execute(runtime, scope, output);
    }
  }
  return Flow::kNext;
}

Flow For::run(Runtime& runtime, const ScopePtr& scope, std::string& output) const {
  const Value items = items_->evaluate(runtime, scope);
  runtime.move_to(at);
  LoopItems::Accepts accepts;
  if (condition_) {
    accepts = [&](const Value& item) {
      const auto inner = std::make_shared<Scope>(scope);
      target_.assign(runtime, *inner, item);
      return truth(condition_->evaluate(runtime, inner));
    };
  }
  const auto loop = std::make_shared<Loop>(LoopItems(runtime, items, std::move(accepts)));
  const Value loop_value{std::shared_ptr<Object>(loop)};
  const std::unique_ptr<Loop, void (*)(Loop*)> at_end(loop.get(), [](Loop* over) { over->end(); });
  bool goes_to_else = true;  // as in Jinja, unless the body has been completed once
  while (auto item = loop->next()) {
    const auto inner = std::make_shared<Scope>(scope);
    inner->set("loop", loop_value);
    target_.assign(runtime, *inner, *item);
    const Flow flow = body_.execute(runtime, inner, output);
    if (flow == Flow::kBreak) {
      break;
    }
    goes_to_else = goes_to_else && flow == Flow::kContinue;
  }
  return goes_to_else ? otherwise_.execute(runtime, std::make_shared<Scope>(scope), output) : Flow::kNext;
}

Flow Set::run(Runtime& runtime, const ScopePtr& scope, std::string&) const {
  const Value value = value_->evaluate(runtime, scope);
  runtime.move_to(at);
  target_.assign(runtime, *scope, value);
  return Flow::kNext;
}

Flow SetBlock::run(Runtime& runtime, const ScopePtr& scope, std::string&) const {
  std::string text = body_.text(runtime, scope);
  target_.assign(runtime, *scope, filtered(runtime, scope, filters_, std::move(text)));
  return Flow::kNext;
}

Flow FilterBlock::run(Runtime& runtime, const ScopePtr& scope, std::string& output) const {
  std::string text = body_.text(runtime, scope);
  runtime.write(output, text_of(runtime, filtered(runtime, scope, filters_, std::move(text))));
  return Flow::kNext;
}

Flow With::run(Runtime& runtime, const ScopePtr& scope, std::string& output) const {
  const auto inner = std::make_shared<Scope>(scope);
  for (const auto& [target, value] : values_) {
    target.assign(runtime, *inner, value->evaluate(runtime, scope));
  }
  return body_.execute(runtime, inner, output);
}

Flow DefineMacro::run(Runtime& runtime, const ScopePtr& scope, std::string&) const {
  scope->set(macro_.name, make_macro(runtime, macro_, scope));
  return Flow::kNext;
}

Flow CallBlock::run(Runtime& runtime, const ScopePtr& scope, std::string& output) const {
  const Value text = call_->evaluate_with(runtime, scope, "caller", make_macro(runtime, caller_, scope));
  runtime.write(output, text_of(runtime, text));
  return Flow::kNext;
}

// As in transformers, offsets count from the beginning of the whole output, also within a macro or a captured block.
Flow Generation::run(Runtime& runtime, const ScopePtr& scope, std::string& output) const {
  const std::string text = body_.text(runtime, scope);
  const size_t begin = runtime.main_output != nullptr ? runtime.main_output->size() : output.size();
  runtime.generations.push_back({begin, begin + text.size()});
  runtime.write(output, text);
  return Flow::kNext;
}

}  // namespace lora::tokenizer::jinja
