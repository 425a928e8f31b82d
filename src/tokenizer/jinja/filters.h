#pragma once
#include <map>
#include <string>

#include "tokenizer/jinja/runtime.h"

namespace lora::tokenizer::jinja {

using Filter = Value (*)(Runtime& runtime, const Value& value, ArgumentReader& arguments);
using FilterTable = std::map<std::string, Filter>;

/// The tables of all filters, one per file.
const FilterTable& text_filters();
const FilterTable& list_filters();
const FilterTable& number_filters();
const FilterTable& markup_filters();
const FilterTable& layout_filters();

bool is_filter(const std::string& name);
/// Fails for an unknown filter, with a suggestion if one is similar.
Value apply_filter(Runtime& runtime, const std::string& name, const Value& value, const Arguments& arguments);

using Test = bool (*)(Runtime& runtime, const Value& value, ArgumentReader& arguments);

bool is_test(const std::string& name);
bool apply_test(Runtime& runtime, const std::string& name, const Value& value, const Arguments& arguments);

/// The global names of Jinja, and those that transformers adds: range, dict, namespace, raise_exception, strftime_now. Null for
/// another name.
const Value* global_value(const std::string& name);

}  // namespace lora::tokenizer::jinja
