// lora-inspect --diff.
#include <ATen/ATen.h>

#include <cmath>
#include <map>
#include <set>

#include "app/heat_map.h"
#include "app/inspect_adapter.h"
#include "app/open_adapter.h"
#include "app/text_table.h"
#include "lora/base/interrupt.h"
#include "lora/base/text.h"
#include "lora/peft/update_figures.h"

namespace lora::app {

namespace {

using Updates = std::map<std::string, peft::LowRankUpdate>;

Updates by_module(const peft::Adapter& adapter) {
  peft::require_low_rank(adapter, "compared");
  Updates updates;
  for (const peft::LowRankUpdate& update : adapter.low_rank()) {
    updates.emplace(update.module, update);
  }
  return updates;
}

/// The names that only the first map has.
template <typename Map>
Json only_in(const Map& first, const Map& second) {
  Json names = Json::array();
  for (const auto& [name, value] : first) {
    if (second.count(name) == 0) {
      names.push_back(name);
    }
  }
  return names;
}

/// Null for a file of kohya's or diffusers' format, whose metadata describe a run, not the adapter.
Json config_of(const OpenedAdapter& opened) {
  const bool has_config = opened.format == peft::AdapterFormat::kPeft || opened.format == peft::AdapterFormat::kMlx;
  return has_config ? opened.adapter.config : Json(nullptr);
}

Json config_differences(const Json& first, const Json& second) {
  if (first.is_null() || second.is_null()) {
    return nullptr;
  }
  std::set<std::string> keys;
  for (const Json* config : {&first, &second}) {
    for (const auto& [key, value] : config->items()) {
      keys.insert(key);
    }
  }
  Json differences = Json::array();
  for (const std::string& key : keys) {
    const Json a = first.value(key, Json(nullptr));
    const Json b = second.value(key, Json(nullptr));
    if (a != b) {
      differences.push_back({{"key", key}, {"first", a}, {"second", b}});
    }
  }
  return differences;
}

/// ‖a - b‖ divided by the larger norm; 2, the maximum, if the shapes differ or one of the tensors is missing.
double tensor_difference(const std::optional<at::Tensor>& first, const std::optional<at::Tensor>& second) {
  if (!first && !second) {
    return 0;
  }
  if (!first || !second || first->sizes() != second->sizes()) {
    return 2;
  }
  const auto norm = [](const at::Tensor& tensor) {
    return at::linalg_vector_norm(tensor, 2, at::OptionalIntArrayRef(), /*keepdim=*/false, at::kDouble).item<double>();
  };
  const double larger = std::max(norm(*first), norm(*second));
  return larger > 0 ? norm(first->to(at::kFloat) - second->to(at::kFloat)) / larger : 0;
}

Json module_difference(const peft::LowRankUpdate& first, const peft::LowRankUpdate& second) {
  Json facts{{"module", first.module},
             {"relative_difference", peft::relative_difference(first, second)},
             {"norm_first", peft::figures_of(first).norm_update},
             {"norm_second", peft::figures_of(second).norm_update}};
  if (first.magnitude_O || second.magnitude_O) {
    facts["magnitude_difference"] = tensor_difference(first.magnitude_O, second.magnitude_O);
  }
  if (first.bias_O || second.bias_O) {
    facts["bias_difference"] = tensor_difference(first.bias_O, second.bias_O);
  }
  return facts;
}

using Wholes = std::map<std::string, at::Tensor>;

Wholes wholes_of(const peft::Adapter& adapter) {
  Wholes tensors;
  for (const peft::HeldTensor& held : adapter.held()) {
    tensors.emplace(held.name + (held.rows.empty() ? "" : " rows " + Json(held.rows).dump()), held.tensor);
  }
  return tensors;
}

Json whole_differences(const Wholes& first, const Wholes& second) {
  Json differences = Json::array();
  for (const auto& [name, tensor] : first) {
    if (const auto other = second.find(name); other != second.end()) {
      differences.push_back({{"name", name}, {"relative_difference", tensor_difference(tensor, other->second)}});
    }
  }
  return differences;
}

std::string names_text(const std::string& what, const Json& names) {
  std::string text;
  for (const Json& name : names) {
    text += what + name.get<std::string>() + "\n";
  }
  return text;
}

std::string config_text(const Json& differences) {
  if (differences.is_null()) {
    return "the configs are not compared: an adapter that is a single file has none\n";
  }
  std::string text = differences.empty() ? "the configs are equal\n" : "config keys that differ\n";
  for (const Json& key : differences) {
    text += "  " + key["key"].get<std::string>() + ": " + shown(key["first"], 60) + " | " + shown(key["second"], 60) + "\n";
  }
  return text;
}

}  // namespace

Json difference_facts(const std::filesystem::path& first, const std::filesystem::path& second) {
  const OpenedAdapter opened_a = open_adapter(first, std::nullopt, {}), opened_b = open_adapter(second, std::nullopt, {});
  const peft::Adapter &a = opened_a.adapter, &b = opened_b.adapter;
  const Updates updates_a = by_module(a);
  const Updates updates_b = by_module(b);
  Json modules = Json::array();
  for (const auto& [module, update] : updates_a) {
    throw_if_interrupted();
    if (const auto other = updates_b.find(module); other != updates_b.end()) {
      modules.push_back(module_difference(update, other->second));
    }
  }
  const Wholes wholes_a = wholes_of(a);
  const Wholes wholes_b = wholes_of(b);
  return {{"kind", "difference"},
          {"first", first.string()},
          {"second", second.string()},
          {"config", config_differences(config_of(opened_a), config_of(opened_b))},
          {"only_in_first", only_in(updates_a, updates_b)},
          {"only_in_second", only_in(updates_b, updates_a)},
          {"modules", modules},
          {"whole_only_in_first", only_in(wholes_a, wholes_b)},
          {"whole_only_in_second", only_in(wholes_b, wholes_a)},
          {"whole_tensors", whole_differences(wholes_a, wholes_b)}};
}

std::string difference_text(const Json& facts, bool colour) {
  const auto name = [&facts](const char* key) { return facts[key].get<std::string>(); };
  std::string text = "first        " + name("first") + "\nsecond       " + name("second") + "\n\n" + config_text(facts["config"]) + "\n";
  text += names_text("only in the first   ", facts["only_in_first"]) + names_text("only in the second  ", facts["only_in_second"]);
  text += names_text("whole, only in the first   ", facts["whole_only_in_first"]) +
          names_text("whole, only in the second  ", facts["whole_only_in_second"]);
  for (const Json& whole : facts["whole_tensors"]) {
    text +=
        "whole  " + whole["name"].get<std::string>() + "  difference " + short_number(whole["relative_difference"].get<double>()) + "\n";
  }
  TextTable table;
  table.add({"module", "difference", "norm of first", "norm of second", "magnitude", "bias"});
  std::vector<ModuleValue> values;
  for (const Json& module : facts["modules"]) {
    const auto number = [&module](const char* key) {
      return module.contains(key) ? short_number(module[key].get<double>()) : std::string();
    };
    table.add({module["module"].get<std::string>(), number("relative_difference"), number("norm_first"), number("norm_second"),
               number("magnitude_difference"), number("bias_difference")});
    values.emplace_back(module["module"].get<std::string>(), module["relative_difference"].get<double>());
  }
  return text + table.text() + "difference: norm of the difference of scale*BA, divided by the larger norm (from 0 to 2)\n\n" +
         "difference by layer and module\n" + heat_map(values, colour);
}

}  // namespace lora::app
