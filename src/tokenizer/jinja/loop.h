#pragma once
#include <functional>
#include <optional>
#include <vector>

#include "tokenizer/jinja/operations.h"

namespace lora::tokenizer::jinja {

/// The items of a for loop, one by one; the condition is checked when an item is reached.
class LoopItems {
 public:
  using Accepts = std::function<bool(const Value& item)>;
  /// Fails for a value that is not iterable.
  LoopItems(Runtime& runtime, const Value& items, Accepts accepts);

  std::optional<Value> next();
  int depth() const { return depth_; }
  bool has_condition() const { return accepts_ != nullptr; }
  /// All remaining items, without taking them.
  size_t num_left();

 private:
  Value source_;
  std::vector<Value> items_;
  int depth_;
  size_t at_ = 0;
  Accepts accepts_;
};

/// The variable `loop` within a for loop.
class Loop : public Object, public std::enable_shared_from_this<Loop> {
 public:
  explicit Loop(LoopItems items) : items_(std::move(items)) {}

  std::optional<Value> next();
  /// Called when the loop has ended, because a namespace may keep `loop` alive.
  void end();

  std::string type() const override { return "LoopContext"; }
  int depth() const override { return items_.depth() + 1; }
  std::optional<Value> attribute(Runtime& runtime, const std::string& name) override;

 private:
  const std::optional<Value>& peek();
  int64_t length();
  Value method(const std::string& name);

  LoopItems items_;
  int64_t index0_ = -1;
  std::optional<int64_t> length_;
  Value before_;
  Value current_;
  bool has_peeked_ = false;
  bool is_over_ = false;
  std::optional<Value> after_;
  std::optional<std::vector<Value>> last_changed_;
};

}  // namespace lora::tokenizer::jinja
