#pragma once
#include <string>

#include "lora/base/json.h"

namespace lora::config {

/// Whether `value` is valid by `schema`. Implements the part of JSON Schema that our own schema uses: type, enum,
/// minimum, exclusiveMinimum, maximum, exclusiveMaximum, minLength, pattern (anchored ones), minItems, items, properties,
/// required, additionalProperties, propertyNames, anyOf.
bool satisfies(const Json& schema, const Json& value);

/// What `schema` allows, in words: "a number > 0", "one of \"a\", \"b\"", "a list of strings or null".
std::string expected_text(const Json& schema);

}  // namespace lora::config
