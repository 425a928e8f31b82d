#include "tokenizer/jinja/filters.h"

#include <array>

#include "lora/base/text.h"

namespace lora::tokenizer::jinja {
namespace {

const std::array<const FilterTable*, 5>& tables() {
  static const std::array<const FilterTable*, 5> kTables{&text_filters(), &list_filters(), &number_filters(), &markup_filters(),
                                                         &layout_filters()};
  return kTables;
}

Filter find_filter(const std::string& name) {
  for (const FilterTable* table : tables()) {
    if (const auto found = table->find(name); found != table->end()) {
      return found->second;
    }
  }
  return nullptr;
}

std::vector<std::string> names() {
  std::vector<std::string> result;
  for (const FilterTable* table : tables()) {
    for (const auto& entry : *table) {
      result.push_back(entry.first);
    }
  }
  return result;
}

}  // namespace

bool is_filter(const std::string& name) {
  return find_filter(name) != nullptr;
}

Value apply_filter(Runtime& runtime, const std::string& name, const Value& value, const Arguments& arguments) {
  const Filter filter = find_filter(name);
  if (filter == nullptr) {
    runtime.fail("there is no filter '" + printable(name) + "'" + did_you_mean(name, names()));
  }
  runtime.work(1);
  ArgumentReader reader(runtime, name, arguments);
  Value result = filter(runtime, value, reader);
  reader.finish();
  return result;
}

}  // namespace lora::tokenizer::jinja
