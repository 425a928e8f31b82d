#include "config/adapter_list.h"

#include <set>

#include "config/rule.h"

namespace lora::config {

namespace {

const char* const kName = "name";
const char* const kLearningRate = "learning_rate";

/// The name of a folder: no separators, not hidden, and not the name of a checkpoint.
Rule name_rule() {
  Rule rule = text();
  rule.schema["pattern"] = "^(?!checkpoint-)[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$";
  rule.expected = "a name of letters, digits, '_', '-' and '.' (its folder in output_dir)";
  return rule;
}

Rule learning_rate_rule() {
  return number({.above = 0});
}

}  // namespace

std::vector<ListedAdapter> read_adapter_list(const Json& list, const ConfigPlace& at) {
  std::vector<ListedAdapter> adapters;
  std::set<std::string> names;
  if (list.empty()) {
    at.add("found [], expected at least one adapter, or null to train every weight");
  }
  for (size_t i = 0; i < list.size(); ++i) {
    ListedAdapter adapter{"adapter_" + std::to_string(i), std::nullopt, Json::object()};
    const ConfigPlace place = at.item(i);
    if (!list[i].is_object()) {
      place.add("found " + shown(list[i]) + ", expected an object with the keys of a PEFT adapter_config.json");
    } else {
      adapter.section = list[i];
      if (list[i].contains(kName) && accept(name_rule(), list[i][kName], place.key(kName))) {
        adapter.name = list[i][kName].get<std::string>();
      }
      if (list[i].contains(kLearningRate) && accept(learning_rate_rule(), list[i][kLearningRate], place.key(kLearningRate))) {
        adapter.learning_rate = list[i][kLearningRate].get<double>();
      }
      adapter.section.erase(kName);
      adapter.section.erase(kLearningRate);
    }
    if (!names.insert(adapter.name).second) {
      place.key(kName).add("found " + shown(Json(adapter.name)) + " twice, expected a different name for each adapter");
    }
    adapters.push_back(std::move(adapter));
  }
  return adapters;
}

Json adapter_list_schema(const Json& alternatives) {
  Json items = Json::array();
  for (Json item : alternatives) {
    if (item["type"] != "object") {
      continue;
    }
    item["properties"][kName] = name_rule().schema;
    item["properties"][kName]["description"] = "Name of the adapter and of its folder in output_dir (default: adapter_<index>).";
    item["properties"][kLearningRate] = learning_rate_rule().schema;
    item["properties"][kLearningRate]["description"] = "Peak learning rate of this adapter, instead of training.learning_rate.";
    items.push_back(std::move(item));
  }
  return {{"type", "array"},
          {"minItems", 1},
          {"description", "Several adapters for one base model and one dataset, each with the result of a run of its own."},
          {"items", items.size() == 1 ? items.front() : Json{{"anyOf", items}}}};
}

}  // namespace lora::config
