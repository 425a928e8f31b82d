#include "tokenizer/jinja/loop.h"

namespace lora::tokenizer::jinja {

LoopItems::LoopItems(Runtime& runtime, const Value& items, Accepts accepts)
    : source_(items), depth_(items.depth()), accepts_(std::move(accepts)) {
  const Sequence* sequence = items.sequence();
  if (sequence == nullptr || sequence->has_length()) {
    items_ = items_of(runtime, items);
  } else {  // an iterator keeps the items that the loop does not take
    items_ = sequence->items;
    at_ = sequence->taken;
  }
}

std::optional<Value> LoopItems::next() {
  while (at_ < items_.size()) {
    const Value item = items_[at_++];
    const Sequence* sequence = source_.sequence();
    if (sequence != nullptr && !sequence->has_length()) {
      sequence->taken = at_;
    }
    if (!accepts_ || accepts_(item)) {
      return item;
    }
  }
  return std::nullopt;
}

size_t LoopItems::num_left() {
  if (accepts_) {
    std::vector<Value> kept;
    while (auto item = next()) {
      kept.push_back(std::move(*item));
    }
    items_ = std::move(kept);
    at_ = 0;
    accepts_ = nullptr;
    source_ = Value();
  }
  return items_.size() - at_;
}

std::optional<Value> Loop::next() {
  std::optional<Value> item = has_peeked_ ? std::move(after_) : items_.next();
  has_peeked_ = false;
  if (item) {
    ++index0_;
    before_ = std::move(current_);
    current_ = *item;
  }
  return item;
}

void Loop::end() {
  is_over_ = true;
  if (!length_) {
    length_ = items_.has_condition() ? index0_ + 1 : length();
  }
  last_changed_.reset();
}

const std::optional<Value>& Loop::peek() {
  if (!has_peeked_) {
    after_ = is_over_ ? std::nullopt : items_.next();
    has_peeked_ = true;
  }
  return after_;
}

int64_t Loop::length() {
  if (!length_) {
    const int64_t peeked = has_peeked_ && after_ ? 1 : 0;
    length_ = index0_ + 1 + peeked + static_cast<int64_t>(items_.num_left());
  }
  return *length_;
}

Value Loop::method(const std::string& name) {
  const auto body = [this, self = shared_from_this(), name](Runtime& runtime, const Arguments& arguments) -> Value {
    if (name == "cycle") {
      if (arguments.positional.empty()) {
        runtime.fail("no items for cycling given");
      }
      return arguments.positional[static_cast<size_t>(index0_) % arguments.positional.size()];
    }
    const auto& values = arguments.positional;
    bool is_same = last_changed_ && last_changed_->size() == values.size();
    for (size_t i = 0; is_same && i < values.size(); ++i) {
      is_same = equals(runtime, (*last_changed_)[i], values[i]);
    }
    last_changed_ = values;
    return !is_same;
  };
  return Value(std::shared_ptr<Object>(std::make_shared<Function>(body, depth() + 1)));
}

std::optional<Value> Loop::attribute(Runtime& runtime, const std::string& name) {
  if (name == "index" || name == "index0") {
    return Value(index0_ + (name == "index" ? 1 : 0));
  }
  if (name == "first") {
    return Value(index0_ == 0);
  }
  if (name == "last") {
    return Value(!peek().has_value());
  }
  if (name == "length") {
    return Value(length());
  }
  if (name == "revindex" || name == "revindex0") {
    return Value(length() - index0_ - (name == "revindex" ? 0 : 1));
  }
  if (name == "previtem") {
    return index0_ == 0 ? Value::undefined("there is no previous item") : before_;
  }
  if (name == "nextitem") {
    return peek() ? *peek() : Value::undefined("there is no next item");
  }
  if (name == "depth" || name == "depth0") {
    return Value(int64_t{name == "depth" ? 1 : 0});
  }
  if (name == "cycle" || name == "changed") {
    if (is_over_) {
      runtime.fail("loop." + name + " is called after its loop");
    }
    return method(name);
  }
  return std::nullopt;
}

}  // namespace lora::tokenizer::jinja
