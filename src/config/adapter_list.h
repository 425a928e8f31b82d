#pragma once
#include <optional>
#include <string>
#include <vector>

#include "config/findings.h"
#include "lora/base/json.h"

namespace lora::config {

/// One element of `adapter` as an array: a separate adapter for the same base model and data.
struct ListedAdapter {
  std::string name;                     ///< its folder in output_dir
  std::optional<double> learning_rate;  ///< instead of training.learning_rate
  Json section;                         ///< the keys of a single `adapter`: PEFT's and init_from
};

/// Reads the elements' own keys, `name` and `learning_rate`.
std::vector<ListedAdapter> read_adapter_list(const Json& list, const ConfigPlace& at);

/// JSON Schema of the array, from the alternative schemas of a single adapter.
Json adapter_list_schema(const Json& alternatives);

}  // namespace lora::config
