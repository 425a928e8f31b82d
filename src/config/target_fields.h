#pragma once
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "config/regex_check.h"
#include "config/table.h"
#include "lora/peft/options.h"

// Fields that the tables of several methods have: the choice of modules, patterns for single modules, keys that are not supported yet.
namespace lora::config {

using peft::ModuleChoice;

/// The value of target_modules or a key like it. @param with_all_linear whether "all-linear" is a choice of its own.
ModuleChoice choice_of(const Json& value, bool with_all_linear);

template <typename Options>
Field<Options> modules_field(std::string key, ModuleChoice Options::*member, bool is_target, std::string description) {
  Rule rule = nullable(any_of({list_of(text(), is_target ? 1 : 0), text()}));
  rule.expected = is_target
                      ? "a list of module names, \"all-linear\", a regular expression for whole names, or null for the family's default"
                      : "a list of module names, a regular expression for whole names, or null";
  return {std::move(key), std::move(description), rule.schema, nullptr,
          [rule, member, is_target](const Json& value, Options& options, const ConfigPlace& at) {
            if (!accept(rule, value, at)) {
              return;
            }
            options.*member = choice_of(value, is_target);
            if ((options.*member).kind == ModuleChoice::Kind::kRegex) {
              check_regex((options.*member).regex, at);
            } else if (value.is_array() && value.empty()) {
              options.*member = {};
            }
          }};
}

template <typename Options>
Field<Options> layers_field() {
  const Rule rule = nullable(any_of({integer(0), list_of(integer(0))}));
  return {"layers_to_transform", "Index or list of indices of the layers to adapt; null: all layers.", rule.schema, nullptr,
          [rule](const Json& value, Options& options, const ConfigPlace& at) {
            if (!accept(rule, value, at)) {
              return;
            }
            options.layers_to_transform.reset();
            if (value.is_array()) {
              options.layers_to_transform.emplace();
              for (const Json& layer : value) {
                options.layers_to_transform->push_back(from_json<int64_t>(layer));
              }
            } else if (!value.is_null()) {
              options.layers_to_transform = {from_json<int64_t>(value)};
            }
          }};
}

template <typename Options>
Field<Options> layers_pattern_field() {
  const Rule rule = nullable(any_of({any_text(), list_of(text())}));
  return {"layers_pattern", "Name (or names) of the model's list of layers, which layers_to_transform indexes.", rule.schema, nullptr,
          [rule](const Json& value, Options& options, const ConfigPlace& at) {
            if (!accept(rule, value, at)) {
              return;
            }
            options.layers_pattern.clear();
            for (const Json& pattern : value.is_array() ? value : Json::array({value})) {
              if (pattern.is_string() && !pattern.get_ref<const std::string&>().empty()) {
                options.layers_pattern.push_back(pattern.get<std::string>());
                check_regex(options.layers_pattern.back(), at);
              }
            }
          }};
}

/// rank_pattern or alpha_pattern.
template <typename Options, typename T>
Field<Options> pattern_field(std::string key, std::vector<std::pair<std::string, T>> Options::*member, const Rule& value_rule,
                             std::string description) {
  Json schema{{"type", {"object", "null"}}, {"additionalProperties", value_rule.schema}};
  return {std::move(key), std::move(description), schema, Json::object(),
          [member, value_rule](const Json& value, Options& options, const ConfigPlace& at) {
            (options.*member).clear();
            if (!value.is_object() && !value.is_null()) {
              at.add("found " + shown(value) + ", expected an object of module names or regular expressions and their values");
              return;
            }
            for (const auto& [pattern, entry] : value.items()) {
              if (accept(value_rule, entry, at.key(pattern))) {
                check_regex(pattern, at.key(pattern));
                (options.*member).emplace_back(pattern, from_json<T>(entry));
              }
            }
          }};
}

template <typename Options>
Field<Options> modules_to_save_field() {
  const Rule rule = nullable(list_of(text()));
  return {"modules_to_save", "Modules to train in full and to save with the adapter, by the ends of their names.", rule.schema, nullptr,
          [rule](const Json& value, Options& options, const ConfigPlace& at) {
            if (accept(rule, value, at)) {
              options.modules_to_save = value.is_null() ? std::vector<std::string>() : value.get<std::vector<std::string>>();
            }
          }};
}

/// A key of PEFT that is accepted only with PEFT's default or a synonym of it, because adapter_config.json files contain it.
template <typename Options>
Field<Options> reserved_field(const std::string& key, const Json& peft_default, const std::vector<Json>& synonyms = {}) {
  Json allowed = Json::array({peft_default});
  for (const Json& synonym : synonyms) {
    allowed.push_back(synonym);
  }
  if (!peft_default.is_null()) {
    allowed.push_back(nullptr);
  }
  return {key,
          "Not supported yet; only PEFT's default is accepted.",
          {{"enum", allowed}},
          peft_default,
          [key, peft_default, synonyms](const Json& value, Options&, const ConfigPlace& at) {
            const bool is_synonym = std::find(synonyms.begin(), synonyms.end(), value) != synonyms.end();
            if (!value.is_null() && value != peft_default && !is_synonym) {
              at.add("PEFT's " + key + " is not supported yet: found " + shown(value) + ", only its default " + peft_default.dump() +
                     " is accepted");
            }
          },
          nullptr,
          false,
          true};
}

/// Adds target_modules, layers_to_transform, layers_pattern and modules_to_save, which all methods that adapt modules have.
template <typename Options>
void add_targets(Table<Options>& table) {
  table
      .custom(modules_field<Options>("target_modules", &Options::target_modules, true,
                                     "Modules to adapt: names or ends of names, a regular expression for whole names, or all-linear; null: "
                                     "the default of the model's family."))
      .example({"q_proj", "v_proj"})
      .custom(layers_field<Options>())
      .custom(layers_pattern_field<Options>())
      .custom(modules_to_save_field<Options>())
      .example({"lm_head"});
}

/// Adds exclude_modules.
template <typename Options>
void add_exclusion(Table<Options>& table) {
  table.custom(modules_field<Options>("exclude_modules", &Options::exclude_modules, false, "Modules to leave out of target_modules."));
}

}  // namespace lora::config
