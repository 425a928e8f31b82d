#include "app/inspect_adapter.h"

#include <ATen/ATen.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "app/heat_map.h"
#include "app/inspect_attachments.h"
#include "app/inspect_formulas.h"
#include "app/inspect_tensors.h"
#include "app/open_adapter.h"
#include "app/text_table.h"
#include "lora/base/interrupt.h"
#include "lora/base/text.h"
#include "lora/peft/pipeline_adapter.h"
#include "lora/peft/update_figures.h"

namespace lora::app {

namespace {

const char* kind_name(const peft::LowRankUpdate& update) {
  constexpr std::array kConvolutions{"Linear", "Conv1d", "Conv2d", "Conv3d"};
  return update.is_embedding() ? "Embedding" : kConvolutions.at(std::min(update.kernel.size(), kConvolutions.size() - 1));
}

Json module_facts(const peft::LowRankUpdate& update) {
  const peft::UpdateFigures figures = peft::figures_of(update);
  return {{"module", update.module},
          {"kind", kind_name(update)},
          {"kernel", update.kernel},
          {"in_features", update.A_RI.size(1) / c10::multiply_integers(update.kernel)},
          {"out_features", update.B_OR.size(0)},
          {"rank", update.rank()},
          {"lora_alpha", update.alpha},
          {"scale", update.scale},
          {"num_parameters", peft::num_parameters(update)},
          {"norm_A", figures.norm_A},
          {"norm_B", figures.norm_B},
          {"norm_BA", figures.norm_BA},
          {"norm_update", figures.norm_update},
          {"effective_rank", figures.effective_rank},
          {"singular_values", figures.singular_values},
          {"dora", update.magnitude_O.has_value()},
          {"lora_bias", update.bias_O.has_value()}};
}

Json whole_tensors(const peft::Adapter& adapter) {
  Json whole = Json::array();
  for (const peft::HeldTensor& held : adapter.held()) {
    whole.push_back({{"name", held.name},
                     {"shape", held.tensor.sizes().vec()},
                     {"rows", held.rows.empty() ? Json("all") : Json(held.rows)},
                     {"of_base", held.of_base}});
  }
  return whole;
}

/// For an adapter of a text-to-image pipeline: how many modules of which kind it has of each component.
Json component_counts(const std::vector<peft::LowRankUpdate>& updates) {
  Json counts = Json::object();
  for (const peft::LowRankUpdate& update : updates) {
    Json& count = counts[peft::component_of(update.module)][kind_name(update)];
    count = count.is_null() ? 1 : count.get<int64_t>() + 1;
  }
  return counts;
}

/// "LoRA", "rsLoRA", "DoRA", "rsLoRA + DoRA", the name of the adapter's formula, or the peft_type of a method that only replaces weights.
std::string method_of(const peft::Adapter& adapter) {
  if (const auto formulas = peft::of_kind<peft::FormulaUpdate>(adapter.updates); !formulas.empty()) {
    return peft::method_name(formulas.front());
  }
  const std::vector<peft::LowRankUpdate> updates = adapter.low_rank();
  if (updates.empty()) {
    return adapter.config.value("peft_type", std::string(peft::kLora));
  }
  const bool is_dora = updates.front().magnitude_O.has_value();
  if (!adapter.options.use_rslora) {
    return is_dora ? "DoRA" : "LoRA";
  }
  return is_dora ? "rsLoRA + DoRA" : "rsLoRA";
}

/// The updates in the model's order: layer 2 before layer 10.
std::vector<peft::LowRankUpdate> in_order(const peft::Adapter& adapter) {
  std::vector<peft::LowRankUpdate> updates = adapter.low_rank();
  std::sort(updates.begin(), updates.end(), [](const auto& a, const auto& b) {
    const std::vector<std::string> left = split(a.module, '.');
    const std::vector<std::string> right = split(b.module, '.');
    return std::lexicographical_compare(left.begin(), left.end(), right.begin(), right.end(), [](const auto& x, const auto& y) {
      const bool are_numbers = is_number(x) && is_number(y);
      return are_numbers && x.size() != y.size() ? x.size() < y.size() : x < y;
    });
  });
  return updates;
}

/// Whether formula_modules() gave the modules.
bool has_formula(const Json& modules) {
  return !modules.empty() && modules.front().contains("tensors");
}

std::string shown_value(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// An integer without decimals, any other number shortened.
std::string number_of(const Json& value) {
  return value.is_number_float() ? short_number(value.get<double>()) : value.dump();
}

std::string components_text(const Json& facts) {
  std::string text = "family       " + (facts["family"] == "" ? "(its modules do not tell)" : facts["family"].get<std::string>()) + "\n";
  for (const auto& [component, kinds] : facts["components"].items()) {
    text += "component    " + component;
    for (const auto& [kind, count] : kinds.items()) {
      text += ", " + count.dump() + " " + kind;
    }
    text += "\n";
  }
  return text;
}

std::string head_text(const Json& facts) {
  const Json& config = facts["config"];
  const auto size = facts["size"].get<int64_t>();
  std::string text = "adapter      " + facts["path"].get<std::string>() + " (" + facts["format"].get<std::string>() + ")\n";
  text += "method       " + facts["method"].get<std::string>();
  for (const char* key : {"r", "lora_alpha", "lora_dropout"}) {
    text += config.contains(key) ? std::string(", ") + key + " " + config[key].dump() : "";
  }
  text += "\nbase         " + (facts["base_model_name_or_path"].is_null() ? "(not named)" : shown_value(facts["base_model_name_or_path"]));
  text += "\ntargets      " + (config.contains("target_modules") ? config["target_modules"].dump() : "(not named)");
  text += "\nsize         " + with_thousands(facts["num_parameters"].get<int64_t>()) + " parameters in " +
          std::to_string(facts["modules"].size()) + " modules, " + human_bytes(size) + "\n";
  text += facts.contains("components") ? components_text(facts) : "";
  if (!facts["norm_update"].is_null()) {
    text += "update       norm " + number_of(facts["norm_update"]) + " over all modules\n";
  }
  for (const Json& whole : facts["whole_tensors"]) {
    text += "whole        " + whole["name"].get<std::string>() + " " + whole["shape"].dump() +
            (whole["rows"].is_array() ? ", rows " + shown(whole["rows"]) : "") +
            (whole["of_base"].get<bool>() ? ", a copy of the base model's" : "") + "\n";
  }
  return text;
}

}  // namespace

Json adapter_facts(const std::filesystem::path& path) {
  if (Json facts = attachment_facts(path); !facts.is_null()) {
    return facts;
  }
  const OpenedAdapter opened = open_adapter(path, std::nullopt, {});
  const peft::Adapter& adapter = opened.adapter;
  Json modules = formula_modules(adapter);
  double squares = 0;
  for (const peft::LowRankUpdate& update : in_order(adapter)) {
    throw_if_interrupted();
    modules.push_back(module_facts(update));
    squares += std::pow(modules.back()["norm_update"].get<double>(), 2);
  }
  int64_t parameters = 0;
  for (const peft::AdapterUpdate& update : adapter.updates) {
    parameters += peft::num_parameters(update);
  }
  Json facts{{"kind", "adapter"},
             {"path", path.string()},
             {"format", peft::kAdapterFormats.name(opened.format)},
             {"method", method_of(adapter)},
             {"base_model_name_or_path", adapter.config.value("base_model_name_or_path", Json(nullptr))},
             {"config", adapter.config},
             {"num_parameters", parameters},
             {"size", fs::file_size(adapter.weights_file)},
             {"norm_update", modules.empty() || has_formula(modules) ? Json(nullptr) : Json(std::sqrt(squares))},
             {"modules", modules},
             {"whole_tensors", whole_tensors(adapter)}};
  if (peft::is_of_pipeline(adapter)) {
    facts["family"] = peft::pipeline_family(adapter);
    facts["components"] = component_counts(adapter.low_rank());
  }
  return facts;
}

std::string adapter_text(const Json& facts, bool colour) {
  if (facts.contains("tensors")) {
    return attachment_text(facts);
  }
  if (has_formula(facts["modules"])) {
    return head_text(facts) + "\n" + formula_text(facts["modules"]);
  }
  if (facts["modules"].empty()) {
    return head_text(facts);
  }
  TextTable table;
  table.add({"module", "rank", "alpha", "scale", "norm A", "norm B", "norm BA", "norm scale*BA", "eff. rank"});
  std::vector<ModuleValue> norms;
  for (const Json& module : facts["modules"]) {
    std::vector<std::string> row{module["module"].get<std::string>()};
    for (const char* key : {"rank", "lora_alpha", "scale", "norm_A", "norm_B", "norm_BA", "norm_update", "effective_rank"}) {
      row.push_back(number_of(module[key]));
    }
    table.add(std::move(row));
    norms.emplace_back(module["module"].get<std::string>(), module["norm_update"].get<double>());
  }
  return head_text(facts) + "\n" + table.text() +
         "All norms are Frobenius norms. eff. rank: the exponential of the entropy of BA's normalised singular values (Roy and Vetterli "
         "2007).\n\n" +
         "norm of scale*BA by layer and module\n" + heat_map(norms, colour);
}

}  // namespace lora::app
