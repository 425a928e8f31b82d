#pragma once
#include <optional>
#include <string>
#include <vector>

#include "config/findings.h"
#include "lora/base/json.h"

namespace lora::config {

/// One element of `adapter` as an array: an adapter of its own over the same base and data.
struct ListedAdapter {
  std::string name;                     ///< its folder in output_dir
  std::optional<double> learning_rate;  ///< in place of training.learning_rate
  Json section;                         ///< what a single `adapter` holds: PEFT's keys and init_from
};

/// Reads the elements' own keys, `name` and `learning_rate`.
std::vector<ListedAdapter> read_adapter_list(const Json& list, const Place& at);

/// JSON Schema of the array, from that of a single adapter's object.
Json adapter_list_schema(const Json& adapter_object_schema);

}  // namespace lora::config
