#include "tokenizer/jinja/macro.h"

#include <algorithm>

namespace lora::tokenizer::jinja {
namespace {

class Macro : public Object {
 public:
  Macro(const MacroBody& body, ScopePtr scope) : body_(body), scope_(std::move(scope)) {}

  std::string type() const override { return "Macro"; }
  bool is_callable() const override { return true; }
  std::optional<Value> attribute(Runtime& runtime, const std::string& name) override {
    return name == "name" ? std::optional(runtime.text(body_.name)) : std::nullopt;
  }

  Value call(Runtime& runtime, const Arguments& arguments) override {
    const auto scope = std::make_shared<Scope>(scope_);
    bind(runtime, arguments, scope);
    std::string text;
    body_.body.execute(runtime, scope, text);
    return runtime.text(std::move(text));
  }

 private:
  /// Moves the argument with this name out of the list; false if there is none.
  static bool take(std::vector<std::pair<std::string, Value>>& named, const std::string& name, Value& value) {
    const auto found = std::find_if(named.begin(), named.end(), [&](const auto& entry) { return entry.first == name; });
    if (found == named.end()) {
      return false;
    }
    value = std::move(found->second);
    named.erase(found);
    return true;
  }

  void bind(Runtime& runtime, const Arguments& given, const ScopePtr& scope) const {
    std::vector<std::pair<std::string, Value>> named = given.named;
    const size_t num_positional = std::min(given.positional.size(), body_.parameters.size());
    for (size_t i = 0; i < body_.parameters.size(); ++i) {
      const MacroBody::Parameter& parameter = body_.parameters[i];
      Value value;
      if (i < num_positional) {
        value = given.positional[i];
      } else if (!take(named, parameter.name, value)) {
        value = parameter.fallback ? parameter.fallback->evaluate(runtime, scope)
                                   : Value::undefined("parameter '" + parameter.name + "' was not provided");
      }
      scope->set(parameter.name, std::move(value));
    }
    if (body_.takes_caller && scope_is_without_caller()) {
      Value caller;
      if (!take(named, "caller", caller)) {
        caller = Value::undefined("No caller defined");
      }
      scope->set("caller", std::move(caller));
    }
    bind_more(runtime, given, std::move(named), num_positional, *scope);
  }

  bool scope_is_without_caller() const {
    return std::none_of(body_.parameters.begin(), body_.parameters.end(), [](const auto& parameter) { return parameter.name == "caller"; });
  }

  void bind_more(Runtime& runtime, const Arguments& given, std::vector<std::pair<std::string, Value>> named, size_t num_positional,
                 Scope& scope) const {
    if (body_.takes_more_named) {
      std::vector<std::pair<Value, Value>> entries;
      for (auto& [name, value] : named) {
        entries.emplace_back(runtime.text(name), std::move(value));
      }
      scope.set("kwargs", runtime.mapping(std::move(entries)));
    } else if (!named.empty()) {
      runtime.fail("macro '" + body_.name + "' takes no keyword argument '" + named.front().first + "'");
    }
    const auto first = given.positional.begin() + static_cast<std::ptrdiff_t>(num_positional);
    if (body_.takes_more_positional) {
      scope.set("varargs", runtime.list({first, given.positional.end()}, Sequence::Kind::kTuple));
    } else if (first != given.positional.end()) {
      runtime.fail("macro '" + body_.name + "' takes at most " + std::to_string(body_.parameters.size()) + " argument(s)");
    }
  }

  const MacroBody& body_;
  ScopePtr scope_;
};

}  // namespace

Value make_macro(Runtime& runtime, const MacroBody& body, ScopePtr scope) {
  runtime.own(scope);
  return Value(std::shared_ptr<Object>(std::make_shared<Macro>(body, std::move(scope))));
}

}  // namespace lora::tokenizer::jinja
