#include "tokenizer/jinja/runtime.h"

#include <algorithm>

#include "tokenizer/jinja/operations.h"

namespace lora::tokenizer::jinja {

std::string Value::type() const {
  static constexpr const char* kSequences[] = {"list", "tuple", "range", "dict_keys", "dict_values", "dict_items", "generator"};
  if (is_none()) {
    return "NoneType";
  }
  if (is_undefined()) {
    return "Undefined";
  }
  if (const Sequence* items = sequence()) {
    return kSequences[static_cast<size_t>(items->kind)];
  }
  if (const Object* own = object()) {
    return own->type();
  }
  return is_text() ? "str" : is_bool() ? "bool" : is_any_integer() ? "int" : is_float() ? "float" : "dict";
}

int Value::depth() const {
  const Sequence* items = sequence();
  const Mapping* entries = mapping();
  return items != nullptr ? items->depth : entries != nullptr ? entries->depth : object() != nullptr ? object()->depth() : 0;
}

Value Object::call(Runtime& runtime, const Arguments&) {
  runtime.fail("'" + type() + "' object is not callable");
}

Runtime::~Runtime() {
  for (const auto& object : namespaces_) {
    object->clear();
  }
  for (const ScopePtr& scope : captured_) {
    scope->clear();
  }
}

void Runtime::need_defined(const Value& value) const {
  if (value.is_undefined()) {
    fail(value.why());
  }
}

void Runtime::work(size_t amount) {
  work_ += amount;
  if (work_ > limits_.work) {
    fail("the template takes too long: found more than " + std::to_string(limits_.work) + " steps. Likely cause: an endless loop.");
  }
}

void Runtime::reserve(size_t bytes) {
  memory_ += bytes;
  if (bytes > limits_.memory || memory_ > limits_.memory) {
    fail("the template needs too much memory: found values of more than " + std::to_string(limits_.memory >> 20) + " MiB in one rendering");
  }
  touch(bytes);
}

Value Runtime::text(std::string text) {
  reserve(text.size() + sizeof(std::string));
  return Value(std::make_shared<const std::string>(std::move(text)));
}

Value Runtime::list(std::vector<Value> items, Sequence::Kind kind) {
  reserve((items.size() + 2) * sizeof(Value));
  work(items.size());
  auto made = std::make_shared<Sequence>();
  for (const Value& item : items) {
    made->depth = std::max(made->depth, item.depth() + 1);
  }
  if (made->depth > limits_.value_depth) {
    fail("a list is nested too deeply: found more than " + std::to_string(limits_.value_depth) + " levels");
  }
  made->items = std::move(items);
  made->kind = kind;
  return Value(std::shared_ptr<const Sequence>(std::move(made)));
}

Value Runtime::mapping(std::vector<std::pair<Value, Value>> entries) {
  reserve((entries.size() + 2) * (2 * sizeof(Value) + 64));
  work(entries.size());
  auto made = std::make_shared<Mapping>();
  for (auto& [key, value] : entries) {
    made->depth = std::max(made->depth, std::max(key.depth(), value.depth()) + 1);
    if (const auto at = find_entry(*this, *made, key)) {
      made->entries[*at].second = std::move(value);
      continue;
    }
    made->entries.emplace_back(std::move(key), std::move(value));
    const Value& kept = made->entries.back().first;
    if (kept.is_text()) {
      made->texts.emplace(kept.text(), made->entries.size() - 1);
    }
  }
  if (made->depth > limits_.value_depth) {
    fail("a dict is nested too deeply: found more than " + std::to_string(limits_.value_depth) + " levels");
  }
  return Value(std::shared_ptr<const Mapping>(std::move(made)));
}

void Runtime::write(std::string& output, std::string_view text) {
  touch(text.size());
  if (output.size() + text.size() > limits_.output_bytes) {
    fail("the template writes too much: found more than " + std::to_string(limits_.output_bytes >> 20) + " MiB");
  }
  output += text;
}

void Runtime::own(std::shared_ptr<Namespace> object) {
  reserve(sizeof(Namespace) + 64);
  namespaces_.push_back(std::move(object));
}

void Runtime::own(ScopePtr captured) {
  reserve(sizeof(Scope) + 64);
  captured_.push_back(std::move(captured));
}

Runtime::Level::Level(Runtime& runtime, Position at) : runtime_(runtime) {
  runtime.at_ = at;
  runtime.work(1);
  if (runtime.depth_ >= runtime.limits_.depth) {
    runtime.fail("the template recurses too deeply: found more than " + std::to_string(runtime.limits_.depth) +
                 " levels. Likely cause: a macro that calls itself endlessly.");
  }
  ++runtime.depth_;
}

std::optional<Value> Namespace::attribute(Runtime&, const std::string& name) {
  for (const auto& [known, value] : attributes_) {
    if (known == name) {
      return value;
    }
  }
  return std::nullopt;
}

void Namespace::set(Runtime& runtime, const std::string& name, Value value) {
  if (name.starts_with('_')) {
    runtime.fail("a namespace cannot have the attribute '" + name + "': found an underscore at its beginning");
  }
  runtime.work(1 + attributes_.size() / 8);
  for (auto& [known, old] : attributes_) {
    if (known == name) {
      old = std::move(value);
      return;
    }
  }
  runtime.reserve(name.size() + sizeof(Value) + 64);
  attributes_.emplace_back(name, std::move(value));
}

std::optional<Value> ArgumentReader::named(const std::string& name) {
  const auto found = std::find_if(arguments_.named.begin(), arguments_.named.end(), [&](const auto& entry) { return entry.first == name; });
  if (found == arguments_.named.end()) {
    return std::nullopt;
  }
  ++num_named_;
  return found->second;
}

Arguments ArgumentReader::rest() {
  const auto first = arguments_.positional.begin() + static_cast<std::ptrdiff_t>(num_positional_);
  Arguments result{{first, arguments_.positional.end()}, arguments_.named};
  ignore_rest();
  return result;
}

void ArgumentReader::ignore_rest() {
  num_positional_ = arguments_.positional.size();
  num_named_ = arguments_.named.size();
}

std::optional<Value> ArgumentReader::next(const std::string& name) {
  if (num_positional_ == arguments_.positional.size()) {
    return named(name);
  }
  if (named(name)) {
    runtime_.fail(function_ + "() got two values for '" + name + "'");
  }
  return arguments_.positional[num_positional_++];
}

Value ArgumentReader::required(const std::string& name) {
  auto value = next(name);
  if (!value) {
    runtime_.fail(function_ + "() needs a value for '" + name + "'");
  }
  return std::move(*value);
}

int64_t ArgumentReader::integer(const std::string& name, int64_t fallback) {
  const auto value = next(name);
  if (!value) {
    return fallback;
  }
  if (!value->is_integer() && !value->is_bool()) {
    runtime_.need_defined(*value);
    runtime_.fail(function_ + "(): " + name + " is '" + value->type() + "', expected an integer");
  }
  return value->integer();
}

bool ArgumentReader::flag(const std::string& name, bool fallback) {
  const auto value = next(name);
  return value ? truth(*value) : fallback;
}

std::string ArgumentReader::text(const std::string& name) {
  const Value value = required(name);
  if (!value.is_text()) {
    runtime_.need_defined(value);
    runtime_.fail(function_ + "(): " + name + " is '" + value.type() + "', expected a string");
  }
  return value.text();
}

std::string ArgumentReader::text(const std::string& name, const std::string& fallback) {
  const auto value = text_if_any(name);
  return value ? *value : fallback;
}

std::optional<std::string> ArgumentReader::text_if_any(const std::string& name) {
  const auto value = next(name);
  if (!value || value->is_none()) {
    return std::nullopt;
  }
  if (!value->is_text()) {
    runtime_.need_defined(*value);
    runtime_.fail(function_ + "(): " + name + " is '" + value->type() + "', expected a string");
  }
  return value->text();
}

void ArgumentReader::finish() const {
  if (num_positional_ < arguments_.positional.size()) {
    runtime_.fail(function_ + "() got more arguments than it takes");
  }
  if (num_named_ < arguments_.named.size()) {
    runtime_.fail(function_ + "() got an unknown argument, or one of them twice");
  }
}

}  // namespace lora::tokenizer::jinja
