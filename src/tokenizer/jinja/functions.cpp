#include <array>
#include <ctime>
#include <map>

#include "tokenizer/jinja/filters.h"
#include "tokenizer/jinja/operations.h"

namespace lora::tokenizer::jinja {
namespace {

constexpr int64_t kLongestRange = 100'000;  // the same as in Jinja's sandbox

int64_t whole(Runtime& runtime, const Value& value) {
  if (!value.is_integer() && !value.is_bool()) {
    runtime.need_defined(value);
    runtime.fail("'" + value.type() + "' object cannot be interpreted as an integer");
  }
  return value.integer();
}

Value range(Runtime& runtime, const Arguments& arguments) {
  const auto& given = arguments.positional;
  if (given.empty() || given.size() > 3 || !arguments.named.empty()) {
    runtime.fail("range() takes from 1 to 3 integers");
  }
  const int64_t first = given.size() > 1 ? whole(runtime, given[0]) : 0;
  const int64_t last = whole(runtime, given[given.size() > 1 ? 1 : 0]);
  const int64_t step = given.size() > 2 ? whole(runtime, given[2]) : 1;
  if (step == 0) {
    runtime.fail("range() arg 3 must not be zero");
  }
  const long double steps = (static_cast<long double>(last) - static_cast<long double>(first)) / static_cast<long double>(step);
  if (steps > static_cast<long double>(kLongestRange)) {
    runtime.fail("a range is too big: found more than " + std::to_string(kLongestRange) + " numbers");
  }
  std::vector<Value> numbers;
  for (int64_t i = first; step > 0 ? i < last : i > last;) {
    numbers.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) {
      break;
    }
  }
  return runtime.list(std::move(numbers), Sequence::Kind::kRange);
}

/// The entries of dict() and the attributes of namespace(): from a dict or pairs, and from named arguments.
std::vector<std::pair<Value, Value>> entries_of(Runtime& runtime, const Arguments& arguments, const char* function) {
  std::vector<std::pair<Value, Value>> entries;
  if (arguments.positional.size() > 1) {
    runtime.fail(std::string(function) + "() takes at most one unnamed argument");
  }
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional.front();
    if (const Mapping* mapping = source.mapping()) {
      runtime.reserve(mapping->entries.size() * 2 * sizeof(Value));
      entries = mapping->entries;
    } else {
      for (const Value& pair : items_of(runtime, source)) {
        const std::vector<Value> parts = items_of(runtime, pair);
        if (parts.size() != 2) {
          runtime.fail(std::string(function) + "(): found " + std::to_string(parts.size()) + " items, expected pairs");
        }
        entries.emplace_back(parts[0], parts[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) {
    entries.emplace_back(runtime.text(name), value);
  }
  return entries;
}

Value make_dict(Runtime& runtime, const Arguments& arguments) {
  return runtime.mapping(entries_of(runtime, arguments, "dict"));
}

Value make_namespace(Runtime& runtime, const Arguments& arguments) {
  auto object = std::make_shared<Namespace>();
  runtime.own(object);
  for (auto& [name, value] : entries_of(runtime, arguments, "namespace")) {
    object->set(runtime, text_of(runtime, name), std::move(value));
  }
  return Value(std::shared_ptr<Object>(std::move(object)));
}

Value raise_exception(Runtime& runtime, const Arguments& arguments) {
  ArgumentReader reader(runtime, "raise_exception", arguments);
  const std::string message = text_of(runtime, reader.required("message"));
  reader.finish();
  runtime.fail_raised(message);
}

/// The names of months and days are always those of the C locale.
Value strftime_now(Runtime& runtime, const Arguments& arguments) {
  static constexpr std::string_view kKnown = "aAbBcdHIjmMpSUwWxXyYZfeDFTRnthCGgVus%";
  ArgumentReader reader(runtime, "strftime_now", arguments);
  const std::string format = reader.text("format");
  reader.finish();
  const std::time_t seconds = runtime.now().time_since_epoch().count();
  std::tm time{};
  gmtime_r(&seconds, &time);
  std::string result;
  for (size_t i = 0; i < format.size(); ++i) {
    runtime.reserve(64);
    if (format[i] != '%') {
      result += format[i];
      continue;
    }
    std::string directive = "%";
    if (i + 1 < format.size() && format[i + 1] == '-') {
      directive += format[++i];
    }
    const char letter = ++i < format.size() ? format[i] : '\0';
    if (letter == '\0' || kKnown.find(letter) == std::string_view::npos) {
      runtime.fail("strftime_now(): the directive '" + directive + std::string(letter == '\0' ? 0 : 1, letter) + "' is not supported");
    }
    std::array<char, 128> buffer{};
    const bool is_empty = letter == 'Z';
    const size_t size = is_empty ? 0 : std::strftime(buffer.data(), buffer.size(), (directive + letter).c_str(), &time);
    result += letter == 'f' ? "000000" : std::string(buffer.data(), size);
  }
  return runtime.text(std::move(result));
}

}  // namespace

const Value* global_value(const std::string& name) {
  static const std::map<std::string, Value> kGlobals = [] {
    std::map<std::string, Value> globals;
    for (const auto& [known, body] : {std::pair<const char*, Value (*)(Runtime&, const Arguments&)>{"range", range},
                                      {"dict", make_dict},
                                      {"namespace", make_namespace},
                                      {"raise_exception", raise_exception},
                                      {"strftime_now", strftime_now}}) {
      globals[known] = Value(std::shared_ptr<Object>(std::make_shared<Function>(body, 0)));
    }
    return globals;
  }();
  const auto found = kGlobals.find(name);
  return found != kGlobals.end() ? &found->second : nullptr;
}

}  // namespace lora::tokenizer::jinja
