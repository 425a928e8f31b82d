#include <algorithm>
#include <map>

#include "tokenizer/jinja/operations.h"
#include "tokenizer/jinja/python_text.h"
#include "tokenizer/jinja/replace.h"

// Methods of texts, dicts and lists, in tables.
namespace lora::tokenizer::jinja {
namespace {

constexpr int64_t kWidestPadding = 100'000;

template <std::string (*kChange)(std::string_view)>
Value change_method(Runtime& runtime, const std::string& text, ArgumentReader&) {
  runtime.reserve(2 * text.size());
  return runtime.text(kChange(text));
}

template <bool kLeft, bool kRight>
Value strip(Runtime& runtime, const std::string& text, ArgumentReader& arguments) {
  const auto set = arguments.text_if_any("chars");
  runtime.touch(text.size() * (set ? 1 + set->size() : 1));
  return runtime.text(std::string(stripped(text, set, kLeft, kRight)));
}

Value text_list(Runtime& runtime, std::vector<std::string> parts, Sequence::Kind kind = Sequence::Kind::kList) {
  runtime.reserve(parts.size() * (sizeof(Value) + 64));
  std::vector<Value> items;
  for (std::string& part : parts) {
    items.push_back(runtime.text(std::move(part)));
  }
  return runtime.list(std::move(items), kind);
}

template <bool kFromRight>
Value split(Runtime& runtime, const std::string& text, ArgumentReader& arguments) {
  const auto separator = arguments.text_if_any("sep");
  const int64_t max_splits = arguments.integer("maxsplit", -1);
  if (separator && separator->empty()) {
    runtime.fail("empty separator");
  }
  runtime.reserve(4 * text.size());
  return text_list(runtime, split_text(text, separator, max_splits, kFromRight));
}

Value split_into_lines(Runtime& runtime, const std::string& text, ArgumentReader& arguments) {
  runtime.reserve(4 * text.size());
  return text_list(runtime, split_lines(text, arguments.flag("keepends", false)));
}

template <bool kFromRight>
Value partition(Runtime& runtime, const std::string& text, ArgumentReader& arguments) {
  const std::string separator = arguments.text("sep");
  if (separator.empty()) {
    runtime.fail("empty separator");
  }
  runtime.touch(text.size());
  const size_t at = kFromRight ? text.rfind(separator) : text.find(separator);
  std::vector<std::string> parts{text, "", ""};
  if (at != std::string::npos) {
    parts = {text.substr(0, at), separator, text.substr(at + separator.size())};
  } else if (kFromRight) {
    parts = {"", "", text};
  }
  return text_list(runtime, std::move(parts), Sequence::Kind::kTuple);
}

/// startswith and endswith take a string or a tuple of strings, and an optional range.
template <bool kAtEnd>
Value matches_side(Runtime& runtime, const std::string& text, ArgumentReader& arguments) {
  const Value needed = arguments.required(kAtEnd ? "suffix" : "prefix");
  const auto begin = arguments.next("start");
  const auto end = arguments.next("end");
  const Value part =
      begin || end ? slice_of(runtime, runtime.text(text), begin.value_or(Value()), end.value_or(Value()), Value()) : runtime.text(text);
  const Sequence* several = needed.sequence();
  const std::vector<Value> one{needed};
  for (const Value& item : several != nullptr && several->kind == Sequence::Kind::kTuple ? several->items : one) {
    if (!item.is_text()) {
      runtime.need_defined(item);
      runtime.fail(std::string(kAtEnd ? "endswith" : "startswith") + " first arg must be str or a tuple of str, not " + item.type());
    }
    if (kAtEnd ? part.text().ends_with(item.text()) : part.text().starts_with(item.text())) {
      return true;
    }
  }
  return false;
}

template <bool kFromRight, bool kMustBeThere>
Value find_method(Runtime& runtime, const std::string& text, ArgumentReader& arguments) {
  const std::string part = arguments.text("sub");
  runtime.touch(text.size());
  const auto length = static_cast<int64_t>(num_characters(text));
  const int64_t given = arguments.integer("start", 0);
  const int64_t given_end = arguments.integer("end", length);
  const int64_t begin = std::max<int64_t>(given < 0 ? given + length : given, 0);
  const int64_t end = std::clamp<int64_t>(given_end < 0 ? given_end + length : given_end, 0, length);
  size_t at = std::string::npos;
  if (begin <= end) {
    const size_t first = byte_of_character(text, static_cast<size_t>(begin));
    const std::string_view window = std::string_view(text).substr(first, byte_of_character(text, static_cast<size_t>(end)) - first);
    at = kFromRight ? window.rfind(part) : window.find(part);
    at = at == std::string::npos ? at : at + first;
  }
  if (at == std::string::npos && kMustBeThere) {
    runtime.fail("substring not found");
  }
  return at == std::string::npos ? int64_t{-1} : static_cast<int64_t>(num_characters(std::string_view(text).substr(0, at)));
}

Value replace_method(Runtime& runtime, const std::string& text, ArgumentReader& arguments) {
  const std::string old = arguments.text("old");
  const std::string with = arguments.text("new");
  return runtime.text(replaced(runtime, text, old, with, arguments.integer("count", -1)));
}

Value join_method(Runtime& runtime, const std::string& text, ArgumentReader& arguments) {
  std::string result;
  bool first = true;
  for (const Value& item : items_of(runtime, arguments.required("iterable"))) {
    if (!item.is_text()) {
      runtime.need_defined(item);
      runtime.fail("sequence item: expected str instance, " + item.type() + " found");
    }
    runtime.reserve(text.size() + item.text().size());
    result += (first ? "" : text) + item.text();
    first = false;
  }
  return runtime.text(std::move(result));
}

Value count(Runtime& runtime, const std::string& text, ArgumentReader& arguments) {
  runtime.touch(text.size());
  return static_cast<int64_t>(count_of(text, arguments.text("sub")));
}

template <bool kPrefix>
Value remove_side(Runtime& runtime, const std::string& text, ArgumentReader& arguments) {
  const std::string part = arguments.text(kPrefix ? "prefix" : "suffix");
  const bool is_there = kPrefix ? text.starts_with(part) : !part.empty() && text.ends_with(part);
  return runtime.text(!is_there ? text : kPrefix ? text.substr(part.size()) : text.substr(0, text.size() - part.size()));
}

enum class Side { kLeft, kRight, kBoth };

template <Side kSide>
Value pad(Runtime& runtime, const std::string& text, ArgumentReader& arguments) {
  const int64_t width = arguments.integer("width", 0);
  const std::string filler = arguments.text("fillchar", " ");
  if (width > kWidestPadding || num_characters(filler) != 1) {
    runtime.fail("padding: found the width " + std::to_string(width) + ", expected at most " + std::to_string(kWidestPadding) +
                 " and one character to fill it with");
  }
  const int64_t missing = std::max<int64_t>(width - static_cast<int64_t>(num_characters(text)), 0);
  const int64_t before = kSide == Side::kLeft ? 0 : kSide == Side::kRight ? missing : missing / 2 + (missing & width & 1);
  std::string result;
  for (int64_t i = 0; i < before; ++i) {
    result += filler;
  }
  result += text;
  for (int64_t i = before; i < missing; ++i) {
    result += filler;
  }
  return runtime.text(std::move(result));
}

template <bool (*kProperty)(char32_t)>
Value has_property(Runtime& runtime, const std::string& text, ArgumentReader&) {
  runtime.touch(text.size());
  return all_characters(text, kProperty);
}

template <bool (*kTest)(std::string_view)>
Value is_of_case_method(Runtime& runtime, const std::string& text, ArgumentReader&) {
  runtime.touch(text.size());
  return kTest(text);
}

using TextMethod = Value (*)(Runtime&, const std::string&, ArgumentReader&);

const std::map<std::string, TextMethod>& text_methods() {
  static const std::map<std::string, TextMethod> kMethods{
      {"upper", change_method<upper>},
      {"lower", change_method<lower>},
      {"capitalize", change_method<capitalized>},
      {"title", change_method<titled>},
      {"strip", strip<true, true>},
      {"lstrip", strip<true, false>},
      {"rstrip", strip<false, true>},
      {"split", split<false>},
      {"rsplit", split<true>},
      {"splitlines", split_into_lines},
      {"partition", partition<false>},
      {"rpartition", partition<true>},
      {"startswith", matches_side<false>},
      {"endswith", matches_side<true>},
      {"find", find_method<false, false>},
      {"rfind", find_method<true, false>},
      {"index", find_method<false, true>},
      {"rindex", find_method<true, true>},
      {"replace", replace_method},
      {"join", join_method},
      {"count", count},
      {"removeprefix", remove_side<true>},
      {"removesuffix", remove_side<false>},
      {"ljust", pad<Side::kLeft>},
      {"rjust", pad<Side::kRight>},
      {"center", pad<Side::kBoth>},
      {"isalpha", has_property<is_alphabetic>},
      {"isdigit", has_property<is_digit>},
      {"isdecimal", has_property<is_decimal>},
      {"isalnum", has_property<is_alphanumeric>},
      {"isspace", has_property<is_python_space>},
      {"isupper", is_of_case_method<is_upper>},
      {"islower", is_of_case_method<is_lower>},
  };
  return kMethods;
}

/// Methods of Python that are not supported: an error is better than an undefined value.
constexpr std::string_view kOtherTextMethods[] = {"casefold",  "encode",       "expandtabs", "format",      "format_map",
                                                  "isascii",   "isidentifier", "isnumeric",  "isprintable", "istitle",
                                                  "maketrans", "swapcase",     "translate",  "zfill"};

Value dict_view(Runtime& runtime, const Mapping& mapping, Sequence::Kind kind) {
  std::vector<Value> items;
  for (const auto& [key, value] : mapping.entries) {
    items.push_back(kind == Sequence::Kind::kKeys     ? key
                    : kind == Sequence::Kind::kValues ? value
                                                      : runtime.list({key, value}, Sequence::Kind::kTuple));
  }
  return runtime.list(std::move(items), kind);
}

using DictMethod = Value (*)(Runtime&, const Value&, ArgumentReader&);

const std::map<std::string, DictMethod>& dict_methods() {
  static const std::map<std::string, DictMethod> kMethods{
      {"keys",
       [](Runtime& runtime, const Value& dict, ArgumentReader&) { return dict_view(runtime, *dict.mapping(), Sequence::Kind::kKeys); }},
      {"values",
       [](Runtime& runtime, const Value& dict, ArgumentReader&) { return dict_view(runtime, *dict.mapping(), Sequence::Kind::kValues); }},
      {"items",
       [](Runtime& runtime, const Value& dict, ArgumentReader&) { return dict_view(runtime, *dict.mapping(), Sequence::Kind::kItems); }},
      {"copy", [](Runtime&, const Value& dict, ArgumentReader&) { return dict; }},
      {"get",
       [](Runtime& runtime, const Value& dict, ArgumentReader& arguments) {
         const Value key = arguments.required("key");
         const Value fallback = arguments.next("default").value_or(Value());
         const auto at = find_entry(runtime, *dict.mapping(), key);
         return at ? dict.mapping()->entries[*at].second : fallback;
       }},
  };
  return kMethods;
}

Value index_in(Runtime& runtime, const Value& list, ArgumentReader& arguments) {
  const Value needed = arguments.required("value");
  const auto& items = list.sequence()->items;
  const auto found = std::find_if(items.begin(), items.end(), [&](const Value& item) { return equals(runtime, item, needed); });
  if (found == items.end()) {
    runtime.fail("the value is not in the list");
  }
  return static_cast<int64_t>(found - items.begin());
}

Value count_in(Runtime& runtime, const Value& list, ArgumentReader& arguments) {
  const Value needed = arguments.required("value");
  const auto& items = list.sequence()->items;
  return static_cast<int64_t>(std::count_if(items.begin(), items.end(), [&](const Value& item) { return equals(runtime, item, needed); }));
}

const std::map<std::string, DictMethod>& list_methods() {
  static const std::map<std::string, DictMethod> kMethods{
      {"index", index_in}, {"count", count_in}, {"copy", [](Runtime&, const Value& list, ArgumentReader&) { return list; }}};
  return kMethods;
}

/// Methods that would change a list or dict, which the sandbox refuses.
constexpr std::string_view kChanging[] = {"append", "clear",  "pop",     "reverse",    "insert", "sort",
                                          "extend", "remove", "popitem", "setdefault", "update"};

template <typename Body>
Value bound(const Value& object, const std::string& name, Body body) {
  const auto call_it = [name, body](Runtime& runtime, const Arguments& given) {
    ArgumentReader arguments(runtime, name, given);
    Value result = body(runtime, arguments);
    arguments.finish();
    return result;
  };
  return Value(std::shared_ptr<Object>(std::make_shared<Function>(call_it, object.depth() + 1)));
}

bool is_list(const Value& object) {
  const Sequence* items = object.sequence();
  return items != nullptr && items->has_index();
}

}  // namespace

std::optional<Value> method_of(Runtime& runtime, const Value& object, const std::string& name) {
  if (object.is_text()) {
    if (const auto found = text_methods().find(name); found != text_methods().end()) {
      return bound(object, name, [object, method = found->second](Runtime& at, ArgumentReader& arguments) {
        return method(at, object.text(), arguments);
      });
    }
    if (std::find(std::begin(kOtherTextMethods), std::end(kOtherTextMethods), name) != std::end(kOtherTextMethods)) {
      runtime.fail("the method '" + name + "' of strings is not supported");
    }
    return std::nullopt;
  }
  if (object.mapping() == nullptr && object.sequence() == nullptr) {
    return std::nullopt;
  }
  if (std::find(std::begin(kChanging), std::end(kChanging), name) != std::end(kChanging) &&
      (object.mapping() != nullptr || is_list(object))) {
    const bool has_it = object.mapping() != nullptr
                            ? name == "clear" || name == "pop" || name == "popitem" || name == "setdefault" || name == "update"
                            : name != "popitem" && name != "setdefault" && name != "update";
    return has_it ? std::optional(Value::undefined("access to '" + name + "' of a " + object.type() + " is not safe: it would change it"))
                  : std::nullopt;
  }
  const bool is_immutable = object.mapping() == nullptr && object.sequence()->kind != Sequence::Kind::kList;
  if (is_immutable && name == "copy") {
    return std::nullopt;
  }
  const auto& methods = object.mapping() != nullptr ? dict_methods() : list_methods();
  const auto found = object.mapping() != nullptr || is_list(object) ? methods.find(name) : methods.end();
  if (found == methods.end()) {
    return std::nullopt;
  }
  return bound(object, name,
               [object, method = found->second](Runtime& at, ArgumentReader& arguments) { return method(at, object, arguments); });
}

}  // namespace lora::tokenizer::jinja
