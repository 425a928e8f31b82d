#include "tokenizer/jinja/json_values.h"

#include "lora/base/python_json.h"
#include "tokenizer/jinja/large_integers.h"

namespace lora::tokenizer::jinja {

Value value_of(Runtime& runtime, const Json& json) {
  switch (json.type()) {
    case Json::value_t::null:
      return Value();
    case Json::value_t::boolean:
      return json.get<bool>();
    case Json::value_t::number_unsigned:
      return integer_of_digits(runtime, std::to_string(json.get<uint64_t>()));
    case Json::value_t::binary:
      return integer_of_digits(runtime, *large_integer(json));
    case Json::value_t::number_integer:
      return json.get<int64_t>();
    case Json::value_t::number_float:
      return json.get<double>();
    case Json::value_t::string:
      return runtime.text(json.get<std::string>());
    case Json::value_t::array: {
      std::vector<Value> items;
      for (const Json& item : json) {
        items.push_back(value_of(runtime, item));
      }
      return runtime.list(std::move(items));
    }
    default: {
      std::vector<std::pair<Value, Value>> entries;
      for (const auto& [key, value] : json.items()) {
        Value name = runtime.text(key);
        entries.emplace_back(std::move(name), value_of(runtime, value));
      }
      return runtime.mapping(std::move(entries));
    }
  }
}

}  // namespace lora::tokenizer::jinja
