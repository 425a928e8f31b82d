#include <algorithm>

#include "tokenizer/jinja/filters.h"
#include "tokenizer/jinja/operations.h"
#include "tokenizer/jinja/python_text.h"

namespace lora::tokenizer::jinja {
namespace {

Value length(Runtime& runtime, const Value& value, ArgumentReader&) {
  const auto size = length_of(runtime, value);
  if (!size) {
    runtime.fail("object of type '" + value.type() + "' has no len()");
  }
  return static_cast<int64_t>(*size);
}

Value fallback(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const Value other = arguments.next("default_value").value_or(runtime.text(""));
  const bool for_false = arguments.flag("boolean", false);
  return value.is_undefined() || (for_false && !truth(value)) ? other : value;
}

Value first(Runtime& runtime, const Value& value, ArgumentReader&) {
  const Sequence* sequence = value.sequence();
  if (sequence == nullptr) {
    const std::vector<Value> items = items_of(runtime, value);
    return items.empty() ? Value::undefined("No first item, sequence was empty.") : items.front();
  }
  if (sequence->taken >= sequence->items.size()) {
    return Value::undefined("No first item, sequence was empty.");
  }
  return sequence->items[sequence->has_length() ? 0 : sequence->taken++];
}

Value last(Runtime& runtime, const Value& value, ArgumentReader&) {
  const Sequence* sequence = value.sequence();
  if (sequence != nullptr && !sequence->has_length()) {
    runtime.fail("'generator' object is not reversible");
  }
  const std::vector<Value> items = items_of(runtime, value);
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items.back();
}

Value as_list(Runtime& runtime, const Value& value, ArgumentReader&) {
  return runtime.list(items_of(runtime, value));
}

Value reverse(Runtime& runtime, const Value& value, ArgumentReader&) {
  if (value.is_text()) {
    return slice_of(runtime, value, Value(), Value(), Value(int64_t{-1}));
  }
  const Sequence* sequence = value.sequence();
  const bool is_once = sequence != nullptr && !sequence->has_length();
  std::vector<Value> items = items_of(runtime, value);
  std::reverse(items.begin(), items.end());
  return runtime.list(std::move(items), is_once ? Sequence::Kind::kList : Sequence::Kind::kIterator);
}

Value items(Runtime& runtime, const Value& value, ArgumentReader&) {
  if (value.is_undefined()) {
    return runtime.list({}, Sequence::Kind::kIterator);
  }
  if (value.mapping() == nullptr) {
    runtime.fail("Can only get item pairs from a mapping, found '" + value.type() + "'");
  }
  const Value view = call(runtime, *method_of(runtime, value, "items"), {});
  return runtime.list(items_of(runtime, view), Sequence::Kind::kIterator);
}

Value folded(Runtime& runtime, const Value& value, bool case_sensitive) {
  if (case_sensitive || !value.is_text()) {
    return value;
  }
  return runtime.text(lower(value.text()));
}

/// The items sorted by their keys; equal ones keep their order, also when sorted backwards.
std::vector<Value> sorted(Runtime& runtime, std::vector<std::pair<Value, Value>> keyed, bool backwards) {
  const auto less = [&](const auto& a, const auto& b) {
    return backwards ? is_less(runtime, b.first, a.first) : is_less(runtime, a.first, b.first);
  };
  std::stable_sort(keyed.begin(), keyed.end(), less);
  std::vector<Value> result;
  for (auto& [key, item] : keyed) {
    result.push_back(std::move(item));
  }
  return result;
}

Value sort(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const bool backwards = arguments.flag("reverse", false);
  const bool case_sensitive = arguments.flag("case_sensitive", false);
  const Value attribute = arguments.next("attribute").value_or(Value());
  std::vector<Value> paths{attribute};
  if (attribute.is_text()) {
    paths.clear();
    for (const std::string& path : split_text(attribute.text(), ",", -1, false)) {
      paths.push_back(runtime.text(path));
    }
  }
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : items_of(runtime, value)) {
    std::vector<Value> key;
    for (const Value& path : paths) {
      key.push_back(folded(runtime, attribute_path(runtime, item, path), case_sensitive));
    }
    keyed.emplace_back(runtime.list(std::move(key)), item);
  }
  return runtime.list(sorted(runtime, std::move(keyed), backwards));
}

Value sort_dict(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const bool case_sensitive = arguments.flag("case_sensitive", false);
  const std::string by = arguments.text("by", "key");
  const bool backwards = arguments.flag("reverse", false);
  if (value.mapping() == nullptr || (by != "key" && by != "value")) {
    runtime.need_defined(value);
    runtime.fail("dictsort() sorts a dict by \"key\" or \"value\"");
  }
  std::vector<std::pair<Value, Value>> keyed;
  for (const auto& [key, entry] : value.mapping()->entries) {
    keyed.emplace_back(folded(runtime, by == "key" ? key : entry, case_sensitive), runtime.list({key, entry}, Sequence::Kind::kTuple));
  }
  return runtime.list(sorted(runtime, std::move(keyed), backwards));
}

Value unique(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const bool case_sensitive = arguments.flag("case_sensitive", false);
  const Value attribute = arguments.next("attribute").value_or(Value());
  std::vector<std::pair<Value, Value>> seen;
  std::vector<Value> kept;
  for (const Value& item : items_of(runtime, value)) {
    const Value key = folded(runtime, attribute_path(runtime, item, attribute), case_sensitive);
    if (!is_hashable(key)) {
      runtime.fail("unhashable type: '" + key.type() + "'");
    }
    const bool is_new = std::none_of(seen.begin(), seen.end(), [&](const auto& other) { return equals(runtime, other.first, key); });
    if (is_new) {
      seen.emplace_back(key, Value());
      kept.push_back(item);
    }
  }
  return runtime.list(std::move(kept), Sequence::Kind::kIterator);
}

template <bool kLargest>
Value extreme(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const bool case_sensitive = arguments.flag("case_sensitive", false);
  const Value attribute = arguments.next("attribute").value_or(Value());
  Value best = Value::undefined("No aggregated item, sequence was empty.");
  Value best_key;
  bool is_first = true;
  for (const Value& item : items_of(runtime, value)) {
    Value key = folded(runtime, attribute_path(runtime, item, attribute), case_sensitive);
    if (is_first || (kLargest ? is_less(runtime, best_key, key) : is_less(runtime, key, best_key))) {
      best = item;
      best_key = std::move(key);
    }
    is_first = false;
  }
  return best;
}

Value sum(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const Value attribute = arguments.next("attribute").value_or(Value());
  Value total = arguments.next("start").value_or(Value(int64_t{0}));
  if (total.is_text()) {
    runtime.fail("sum() can't sum strings");
  }
  for (const Value& item : items_of(runtime, value)) {
    total = binary(runtime, BinaryOperator::kAdd, total, attribute_path(runtime, item, attribute));
  }
  return total;
}

Value map(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  std::vector<Value> results;
  if (truth(value)) {
    const auto attribute = arguments.named("attribute");
    const Value other = attribute ? arguments.named("default").value_or(Value()) : Value();
    const std::string filter = attribute ? "" : arguments.text("filter");
    const Arguments rest = attribute ? Arguments() : arguments.rest();
    for (const Value& item : items_of(runtime, value)) {
      if (!attribute) {
        results.push_back(apply_filter(runtime, filter, item, rest));
        continue;
      }
      Value found = attribute_path(runtime, item, *attribute);
      results.push_back(found.is_undefined() && !other.is_none() ? other : std::move(found));
    }
  } else {
    arguments.ignore_rest();
  }
  return runtime.list(std::move(results), Sequence::Kind::kIterator);
}

template <bool kWanted, bool kByAttribute>
Value select(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  std::vector<Value> kept;
  if (!truth(value)) {
    arguments.ignore_rest();
    return runtime.list(std::move(kept), Sequence::Kind::kIterator);
  }
  Value attribute;
  if constexpr (kByAttribute) {
    attribute = arguments.required("attribute");
  }
  const auto test = arguments.next("test");
  if (test && !test->is_text()) {
    runtime.fail("a test must be named by a string, found '" + test->type() + "'");
  }
  const Arguments rest = arguments.rest();
  for (const Value& item : items_of(runtime, value)) {
    const Value tested = attribute_path(runtime, item, attribute);
    if ((test ? apply_test(runtime, test->text(), tested, rest) : truth(tested)) == kWanted) {
      kept.push_back(item);
    }
  }
  return runtime.list(std::move(kept), Sequence::Kind::kIterator);
}

Value batch(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const int64_t count = arguments.integer("linecount", 0);
  const Value filler = arguments.next("fill_with").value_or(Value());
  if (count < 1 || count > 100'000) {
    runtime.fail("batch(): found " + std::to_string(count) + ", expected from 1 to 100000");
  }
  std::vector<Value> batches;
  std::vector<Value> part;
  for (const Value& item : items_of(runtime, value)) {
    if (static_cast<int64_t>(part.size()) == count) {
      batches.push_back(runtime.list(std::move(part)));
      part.clear();
    }
    part.push_back(item);
  }
  if (!part.empty()) {
    part.resize(filler.is_none() ? part.size() : static_cast<size_t>(count), filler);
    batches.push_back(runtime.list(std::move(part)));
  }
  return runtime.list(std::move(batches), Sequence::Kind::kIterator);
}

Value slice(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const Value num_slices = arguments.required("slices");
  const Value filler = arguments.next("fill_with").value_or(Value());
  if (!num_slices.is_integer() && !num_slices.is_bool()) {
    runtime.fail("slice(): slices is '" + num_slices.type() + "', expected an integer");
  }
  const int64_t count = num_slices.integer();
  const std::vector<Value> items = items_of(runtime, value);
  if (count == 0) {
    runtime.fail("slice(): found 0 slices, expected another number");
  }
  std::vector<Value> slices;
  auto begin = items.begin();
  for (int64_t i = 0; i < count; ++i) {
    const auto size = static_cast<int64_t>(items.size());
    const bool has_extra = i < size % count;
    const auto end = begin + size / count + (has_extra ? 1 : 0);
    std::vector<Value> part(begin, end);
    if (!has_extra && !filler.is_none()) {
      part.push_back(filler);
    }
    slices.push_back(runtime.list(std::move(part)));
    begin = end;
  }
  return runtime.list(std::move(slices), Sequence::Kind::kIterator);
}

Value random(Runtime& runtime, const Value&, ArgumentReader&) {
  runtime.fail("the filter 'random' is not supported, because it chooses by chance: a conversation would give different tokens each time");
}

Value attribute(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const std::string name = arguments.text("name");
  if (value.mapping() != nullptr && !method_of(runtime, value, name)) {
    return Value::undefined("'dict object' has no attribute '" + name + "'");
  }
  return attribute_of(runtime, value, name);
}

Value group(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const Value path = arguments.required("attribute");
  const Value other = arguments.next("default").value_or(Value());
  const bool case_sensitive = arguments.flag("case_sensitive", false);
  const auto raw_key = [&](const Value& item) {
    Value found = attribute_path(runtime, item, path);
    return found.is_undefined() && !other.is_none() ? other : found;
  };
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : items_of(runtime, value)) {
    keyed.emplace_back(folded(runtime, raw_key(item), case_sensitive), item);
  }
  std::vector<Value> groups;
  std::vector<Value> members;
  const auto close = [&] {
    if (!members.empty()) {
      const Value key = raw_key(members.front());
      groups.push_back(runtime.list({key, runtime.list(std::move(members))}, Sequence::Kind::kTuple));
      members.clear();
    }
  };
  for (Value& item : sorted(runtime, std::move(keyed), false)) {
    const bool goes_on = !members.empty() && equals(runtime, folded(runtime, raw_key(members.front()), case_sensitive),
                                                    folded(runtime, raw_key(item), case_sensitive));
    if (!goes_on) {
      close();
    }
    members.push_back(std::move(item));
  }
  close();
  return runtime.list(std::move(groups));
}

}  // namespace

const FilterTable& list_filters() {
  static const FilterTable kFilters{
      {"length", length},
      {"count", length},
      {"default", fallback},
      {"d", fallback},
      {"first", first},
      {"last", last},
      {"list", as_list},
      {"reverse", reverse},
      {"items", items},
      {"sort", sort},
      {"dictsort", sort_dict},
      {"unique", unique},
      {"min", extreme<false>},
      {"max", extreme<true>},
      {"sum", sum},
      {"map", map},
      {"select", select<true, false>},
      {"reject", select<false, false>},
      {"selectattr", select<true, true>},
      {"rejectattr", select<false, true>},
      {"batch", batch},
      {"slice", slice},
      {"random", random},
      {"attr", attribute},
      {"groupby", group},
  };
  return kFilters;
}

}  // namespace lora::tokenizer::jinja
