#pragma once
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/jinja/failure.h"
#include "tokenizer/jinja/value.h"

namespace lora::tokenizer::jinja {

class Runtime;

/// The arguments of a call.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

/// A value with its own behaviour: a namespace, a loop, a macro, a function, a method.
class Object {
 public:
  virtual ~Object() = default;
  /// Python's name of the type.
  virtual std::string type() const = 0;
  virtual std::optional<Value> attribute(Runtime&, const std::string&) { return std::nullopt; }
  virtual bool is_callable() const { return false; }
  /// The nesting depth of the values that it always holds, counted as for lists.
  virtual int depth() const { return 0; }
  virtual Value call(Runtime& runtime, const Arguments& arguments);
};

/// The names of a block, and of the blocks around it.
class Scope {
 public:
  explicit Scope(std::shared_ptr<Scope> parent) : parent_(std::move(parent)) {}

  const Value* find(const std::string& name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->parent_.get()) {
      for (const auto& [known, value] : scope->names_) {
        if (known == name) {
          return &value;
        }
      }
    }
    return nullptr;
  }
  void set(const std::string& name, Value value) {
    for (auto& [known, old] : names_) {
      if (known == name) {
        old = std::move(value);
        return;
      }
    }
    names_.emplace_back(name, std::move(value));
  }
  /// Removes its names, and those of all scopes around it.
  void clear() {
    for (Scope* scope = this; scope != nullptr; scope = scope->parent_.get()) {
      scope->names_.clear();
    }
  }

 private:
  std::shared_ptr<Scope> parent_;
  std::vector<std::pair<std::string, Value>> names_;
};
using ScopePtr = std::shared_ptr<Scope>;

class Namespace;

/// One rendering: its cost so far, and its current position.
class Runtime {
 public:
  Runtime(const Limits& limits, std::chrono::local_seconds now) : limits_(limits), now_(now) {}
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  /// Throws Failure at the current node.
  [[noreturn]] void fail(const std::string& message) const { throw Failure(at_, message); }
  [[noreturn]] void fail_raised(const std::string& message) const { throw Failure(at_, message, true); }
  /// Fails if the value is undefined.
  void need_defined(const Value& value) const;

  void move_to(Position at) { at_ = at; }
  /// Counts work; fails beyond the limit.
  void work(size_t amount);
  /// Counts work on `bytes` of text.
  void touch(size_t bytes) { work(1 + bytes / 64); }
  /// Counts the memory of a value before it is created; fails beyond the limit.
  void reserve(size_t bytes);

  Value text(std::string text);
  Value list(std::vector<Value> items, Sequence::Kind kind = Sequence::Kind::kList);
  /// A later entry with the same key replaces the value of an earlier one.
  Value mapping(std::vector<std::pair<Value, Value>> entries);

  /// Appends to an output.
  void write(std::string& output, std::string_view text);

  /// Registers objects that may refer to themselves; they are emptied at the end.
  void own(std::shared_ptr<Namespace> object);
  void own(ScopePtr captured);

  std::chrono::local_seconds now() const { return now_; }

  /// One level of evaluation.
  class Level {
   public:
    Level(Runtime& runtime, Position at);
    ~Level() { --runtime_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Runtime& runtime_;
  };

  struct Span {
    size_t begin;
    size_t end;
  };
  std::vector<Span> generations;             ///< the spans marked by {% generation %}, in bytes of the output
  const std::string* main_output = nullptr;  ///< set by the code that renders

 private:
  const Limits& limits_;
  std::chrono::local_seconds now_;
  Position at_;
  size_t work_ = 0;
  size_t memory_ = 0;
  int depth_ = 0;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
  std::vector<ScopePtr> captured_;
};

/// namespace(): an object whose attributes templates can set.
class Namespace : public Object {
 public:
  std::string type() const override { return "Namespace"; }
  std::optional<Value> attribute(Runtime&, const std::string& name) override;
  void set(Runtime& runtime, const std::string& name, Value value);
  void clear() { attributes_.clear(); }

 private:
  std::vector<std::pair<std::string, Value>> attributes_;
};

/// A built-in function, bound to the value that it works on, whose nesting depth is `depth`.
class Function : public Object {
 public:
  using Body = std::function<Value(Runtime&, const Arguments&)>;
  Function(Body body, int depth) : body_(std::move(body)), depth_(depth) {}
  std::string type() const override { return "builtin_function_or_method"; }
  bool is_callable() const override { return true; }
  int depth() const override { return depth_; }
  Value call(Runtime& runtime, const Arguments& arguments) override { return body_(runtime, arguments); }

 private:
  Body body_;
  int depth_;
};

/// Takes the arguments of a call one by one, by position or by name, like Python functions.
class ArgumentReader {
 public:
  ArgumentReader(Runtime& runtime, std::string function, const Arguments& arguments)
      : runtime_(runtime), function_(std::move(function)), arguments_(arguments) {}

  std::optional<Value> next(const std::string& name);
  Value required(const std::string& name);
  /// Typed versions; they fail for other types.
  int64_t integer(const std::string& name, int64_t fallback);
  bool flag(const std::string& name, bool fallback);
  std::string text(const std::string& name);
  std::string text(const std::string& name, const std::string& fallback);
  /// A string; empty for none or a missing argument.
  std::optional<std::string> text_if_any(const std::string& name);
  /// A keyword-only argument.
  std::optional<Value> named(const std::string& name);
  /// All arguments that were not taken, for another function.
  Arguments rest();
  /// Accepts any further arguments.
  void ignore_rest();
  /// Fails if there are arguments that were not taken.
  void finish() const;

 private:
  Runtime& runtime_;
  std::string function_;
  const Arguments& arguments_;
  size_t num_positional_ = 0;
  size_t num_named_ = 0;
};

}  // namespace lora::tokenizer::jinja
