#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "config/findings.h"
#include "config/rule.h"
#include "config/unknown_key.h"
#include "lora/base/enum_table.h"
#include "lora/base/json.h"

namespace lora::config {

template <typename T>
inline constexpr bool kIsOptional = false;
template <typename T>
inline constexpr bool kIsOptional<std::optional<T>> = true;

/// JSON → member. A Rule has checked the value. null means "none".
template <typename T>
T from_json(const Json& value) {
  if constexpr (kIsOptional<T>) {
    return value.is_null() ? T() : T(from_json<typename T::value_type>(value));
  } else if constexpr (std::is_same_v<T, std::filesystem::path>) {
    return value.is_null() ? T() : T(value.get<std::string>());
  } else if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    return value.is_number_float() ? static_cast<T>(value.get<double>()) : value.get<T>();
  } else {
    return value.get<T>();
  }
}

/// Member → JSON.
template <typename T>
Json to_json(const T& value) {
  if constexpr (kIsOptional<T>) {
    return value ? to_json(*value) : Json(nullptr);
  } else if constexpr (std::is_same_v<T, std::filesystem::path>) {
    return value.empty() ? Json(nullptr) : Json(value.string());
  } else if constexpr (std::is_same_v<T, double>) {
    return number_json(value);
  } else {
    return Json(value);
  }
}

/// One key of an object, used by the reader, the resolved config and the schema.
template <typename Options>
struct Field {
  std::string key;
  std::string description;
  Json schema;
  Json fallback;  ///< the default
  std::function<void(const Json& value, Options&, const ConfigPlace&)> read;
  std::function<Json(const Options&)> show = nullptr;  ///< none: shows the given value, or the default
  bool required = false;
  bool only_where_given = false;  ///< left out of the resolved config otherwise
  Json example = nullptr;         ///< a value that shows how the key is used; null: none
};

/// All keys of an object of the config, in the order in which they are printed. `Access` is a function from Options to
/// the member: [](auto& o) -> auto& { return o.member; }.
template <typename Options>
class Table {
 public:
  template <typename Access>
  Table& value(std::string key, Access access, Rule rule, std::string description) {
    using Member = std::remove_reference_t<decltype(access(std::declval<Options&>()))>;
    const Options defaults;
    Field<Options> field{std::move(key), std::move(description), rule.schema, to_json<Member>(access(defaults)), nullptr};
    field.read = [access, rule = std::move(rule)](const Json& value, Options& options, const ConfigPlace& at) {
      if (accept(rule, value, at)) {
        access(options) = from_json<Member>(value);
      }
    };
    field.show = [access](const Options& options) { return to_json<Member>(access(options)); };
    return add(std::move(field));
  }

  template <typename Access, typename Enum, size_t N>
  Table& choice(std::string key, Access access, const EnumTable<Enum, N>& names, std::string description,
                std::vector<std::string> later = {}) {
    const Rule rule = name_of(names.names(), std::move(later));
    const Options defaults;
    Field<Options> field{std::move(key), std::move(description), rule.schema, Json(names.name(access(defaults))), nullptr};
    field.read = [access, rule, names](const Json& value, Options& options, const ConfigPlace& at) {
      if (accept(rule, value, at)) {
        access(options) = *names.find(value.get<std::string>());
      }
    };
    field.show = [access, names](const Options& options) { return Json(names.name(access(options))); };
    return add(std::move(field));
  }

  /// A known key for which this version accepts only `values`: the default and its synonyms.
  Table& fixed(std::string key, std::vector<Json> values, std::string description) {
    Json fallback = values.front();
    Rule rule = one_of(std::move(values));
    rule.note = "This version supports no other value";
    return custom({std::move(key), std::move(description), rule.schema, std::move(fallback),
                   [rule](const Json& value, Options&, const ConfigPlace& at) { accept(rule, value, at); }});
  }

  Table& custom(Field<Options> field) { return add(std::move(field)); }

  Table& required() {
    fields_.back().required = true;
    return *this;
  }
  Table& only_where_given() {
    fields_.back().only_where_given = true;
    return *this;
  }
  /// Shows `value` as the last key's example in the schema and in docs/config.md.
  Table& example(Json value) {
    fields_.back().example = std::move(value);
    return *this;
  }

  std::vector<std::string> keys() const {
    std::vector<std::string> result;
    for (const Field<Options>& field : fields_) {
      result.push_back(field.key);
    }
    return result;
  }

  /// Reads `object` into `options`; missing keys leave their members unchanged.
  void read(const Json& object, Options& options, const ConfigPlace& at) const {
    if (!object.is_object()) {
      at.add("found " + shown(object) + ", expected an object");
      return;
    }
    bool listed = false;  // whether a finding has listed the known keys already
    for (const auto& [key, value] : object.items()) {
      if (const Field<Options>* field = find(key)) {
        field->read(value, options, at.key(key));
      } else {
        report_unknown_key(key, keys(), at, listed);
      }
    }
    for (const Field<Options>& field : fields_) {
      if (field.required && !object.contains(field.key)) {
        report_missing_key(field.schema, at.key(field.key));
      }
    }
  }

  Json resolved(const Options& options, const Json& given) const {
    Json result = Json::object();
    for (const Field<Options>& field : fields_) {
      const bool is_given = given.is_object() && given.contains(field.key);
      if (field.show && !(field.only_where_given && !is_given)) {
        result[field.key] = field.show(options);
      } else if (is_given) {
        result[field.key] = given[field.key];
      } else if (!field.only_where_given) {
        result[field.key] = field.fallback;
      }
    }
    return result;
  }

  Json schema() const {
    Json properties = Json::object();
    Json needed = Json::array();
    for (const Field<Options>& field : fields_) {
      Json property{{"description", field.description}};
      property.update(field.schema);
      if (field.required) {
        needed.push_back(field.key);
      } else if (!field.only_where_given) {
        property["default"] = field.fallback;
      }
      if (!field.example.is_null()) {
        property["examples"] = Json::array({field.example});
      }
      properties[field.key] = std::move(property);
    }
    Json schema{{"type", "object"}, {"additionalProperties", false}, {"properties", std::move(properties)}};
    if (!needed.empty()) {
      schema["required"] = std::move(needed);
    }
    return schema;
  }

 private:
  Table& add(Field<Options> field) {
    fields_.push_back(std::move(field));
    return *this;
  }
  const Field<Options>* find(const std::string& key) const {
    for (const Field<Options>& field : fields_) {
      if (field.key == key) {
        return &field;
      }
    }
    return nullptr;
  }

  std::vector<Field<Options>> fields_;
};

}  // namespace lora::config
