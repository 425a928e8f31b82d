#pragma once
#include <map>
#include <string>

#include "tokenizer/jinja/runtime.h"

namespace lora::tokenizer::jinja {

using Filter = Value (*)(Runtime& runtime, const Value& value, ArgumentReader& arguments);
using FilterTable = std::map<std::string, Filter>;

/// The tables that all filters stand in, one a file.
const FilterTable& text_filters();
const FilterTable& list_filters();
const FilterTable& number_filters();
const FilterTable& markup_filters();
const FilterTable& layout_filters();

bool is_filter(const std::string& name);
/// Fails for a filter that there is not, naming those that are near.
Value apply_filter(Runtime& runtime, const std::string& name, const Value& value, const Arguments& arguments);

using Test = bool (*)(Runtime& runtime, const Value& value, ArgumentReader& arguments);

bool is_test(const std::string& name);
bool apply_test(Runtime& runtime, const std::string& name, const Value& value, const Arguments& arguments);

/// What Jinja knows everywhere, and what transformers adds: range, dict, namespace, raise_exception, strftime_now. Nothing for
/// another name.
const Value* global_value(const std::string& name);

}  // namespace lora::tokenizer::jinja
