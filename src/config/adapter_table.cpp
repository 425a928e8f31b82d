#include "config/adapter_table.h"

#include <algorithm>

#include "lora/base/regex.h"
#include "lora/base/text.h"

namespace lora::config {

namespace {

using peft::LoraInit;
using peft::LoraOptions;
using peft::ModuleChoice;

constexpr int64_t kLargestRank = 65536;

/// Says so if `pattern` is no regular expression.
void check_regex(const std::string& pattern, const Place& at) {
  try {
    Regex(pattern, at.path, ErrorKind::kConfig);
  } catch (const Error& error) {
    const std::string prefix = "[" + at.path + "] ";
    const std::string message = error.what();
    at.add(message.starts_with(prefix) ? message.substr(prefix.size()) : message);
  }
}

bool is_all_linear(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c; });
  return name == "all-linear";
}

ModuleChoice choice_of(const Json& value, bool with_all_linear) {
  ModuleChoice choice;
  if (value.is_array()) {
    choice.kind = ModuleChoice::Kind::kList;
    choice.names = value.get<std::vector<std::string>>();
  } else if (value.is_string() && with_all_linear && is_all_linear(value.get<std::string>())) {
    choice.kind = ModuleChoice::Kind::kAllLinear;
  } else if (value.is_string()) {
    choice.kind = ModuleChoice::Kind::kRegex;
    choice.regex = value.get<std::string>();
  }
  return choice;
}

Field<LoraOptions> modules_field(std::string key, ModuleChoice LoraOptions::*member, bool is_target, std::string description) {
  Rule rule = nullable(any_of({list_of(text(), is_target ? 1 : 0), text()}));
  rule.expected = is_target
                      ? "a list of module names, \"all-linear\", a regular expression for whole names, or null for the family's own choice"
                      : "a list of module names, a regular expression for whole names, or null";
  return {std::move(key), std::move(description), rule.schema, nullptr,
          [rule, member, is_target](const Json& value, LoraOptions& options, const Place& at) {
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

Field<LoraOptions> layers_field() {
  const Rule rule = nullable(any_of({integer(0), list_of(integer(0))}));
  return {"layers_to_transform", "Index or indices of the layers that are adapted; null: all.", rule.schema, nullptr,
          [rule](const Json& value, LoraOptions& options, const Place& at) {
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

Field<LoraOptions> layers_pattern_field() {
  const Rule rule = nullable(any_of({any_text(), list_of(text())}));
  return {"layers_pattern", "Name or names of the list of layers in the model, for layers_to_transform.", rule.schema, nullptr,
          [rule](const Json& value, LoraOptions& options, const Place& at) {
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
template <typename T>
Field<LoraOptions> pattern_field(std::string key, std::vector<std::pair<std::string, T>> LoraOptions::*member, const Rule& value_rule,
                                 std::string description) {
  Json schema{{"type", {"object", "null"}}, {"additionalProperties", value_rule.schema}};
  return {std::move(key), std::move(description), schema, Json::object(),
          [member, value_rule](const Json& value, LoraOptions& options, const Place& at) {
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

Field<LoraOptions> init_field() {
  Rule rule = one_of({true, false, "gaussian"});
  rule.later = {"eva", "olora", "pissa", "corda", "loftq", "orthogonal", "mica", "lora_ga"};
  return {"init_lora_weights", "How the adapter starts: true (B zero), gaussian, or false (B random, for tests).", rule.schema, true,
          [rule](const Json& value, LoraOptions& options, const Place& at) {
            if (accept(rule, value, at)) {
              options.init = value.is_string() ? LoraInit::kGaussian : value.get<bool>() ? LoraInit::kDefault : LoraInit::kRandom;
            }
          }};
}

/// A PEFT key that may stand there with PEFT's default, because adapter_config.json holds it.
Field<LoraOptions> reserved_field(const std::string& key, const Json& peft_default) {
  Json allowed = Json::array({peft_default});
  if (!peft_default.is_null()) {
    allowed.push_back(nullptr);
  }
  return {key,
          "Not supported yet: PEFT's default only.",
          {{"enum", allowed}},
          peft_default,
          [key, peft_default](const Json& value, LoraOptions&, const Place& at) {
            if (!value.is_null() && value != peft_default) {
              at.add("PEFT's " + key + " is not supported yet: found " + shown(value) + ", only its default " + peft_default.dump() +
                     " is accepted");
            }
          },
          nullptr,
          false,
          key != "bias" && key != "use_dora" && key != "modules_to_save"};
}

/// A key that says something about the file, not about the adapter.
Field<LoraOptions> metadata_field(const std::string& key) {
  return {
      key, "Metadata of PEFT's file: any value.", Json::object(), nullptr, [](const Json&, LoraOptions&, const Place&) {}, nullptr, false,
      true};
}

void add_supported(Table<LoraOptions>& table) {
  table.fixed("peft_type", {"LORA"}, "The method.")
      .value(
          "r", [](auto& o) -> auto& { return o.r; }, integer(1, kLargestRank), "Rank.")
      .value(
          "lora_alpha", [](auto& o) -> auto& { return o.lora_alpha; }, number({.above = 0}), "The adapter is scaled by lora_alpha / r.")
      .value(
          "lora_dropout", [](auto& o) -> auto& { return o.lora_dropout; }, number({.from = 0, .below = 1}),
          "Share of the adapter's inputs that is dropped.")
      .custom(modules_field("target_modules", &LoraOptions::target_modules, true,
                            "Which modules are adapted: names or ends of names, a regular expression for whole names, or all-linear."))
      .custom(modules_field("exclude_modules", &LoraOptions::exclude_modules, false, "Which of them are not."))
      .custom(layers_field())
      .custom(layers_pattern_field())
      .custom(pattern_field<int64_t>("rank_pattern", &LoraOptions::rank_pattern, integer(1, kLargestRank),
                                     "Other ranks, by the end of a module's name or a regular expression; the first match counts."))
      .custom(pattern_field<double>("alpha_pattern", &LoraOptions::alpha_pattern, number({.above = 0}), "Other lora_alphas, likewise."))
      .custom(reserved_field("bias", "none"))
      .value(
          "use_rslora", [](auto& o) -> auto& { return o.use_rslora; }, boolean(), "Scale by lora_alpha / sqrt(r).")
      .custom(reserved_field("use_dora", false))
      .custom(init_field())
      .custom(reserved_field("modules_to_save", nullptr));
}

}  // namespace

const Table<LoraOptions>& adapter_table() {
  static const Table<LoraOptions> kTable = [] {
    Table<LoraOptions> table;
    add_supported(table);
    for (const char* key : {"inference_mode", "peft_version", "base_model_name_or_path", "task_type", "auto_mapping", "revision"}) {
      table.custom(metadata_field(key));
    }
    const std::vector<std::pair<std::string, Json>> others{
        {"fan_in_fan_out", false},
        {"megatron_config", nullptr},
        {"megatron_core", "megatron.core"},
        {"trainable_token_indices", nullptr},
        {"loftq_config", Json::object()},
        {"eva_config", nullptr},
        {"corda_config", nullptr},
        {"lora_ga_config", nullptr},
        {"velora_config", nullptr},
        {"alora_invocation_tokens", nullptr},
        {"use_qalora", false},
        {"qalora_group_size", 16},
        {"monteclora_config", nullptr},
        {"layer_replication", nullptr},
        {"runtime_config", Json::object({{"ephemeral_gpu_offload", false}})},
        {"lora_bias", false},
        {"target_parameters", nullptr},
        {"use_bdlora", nullptr},
        {"arrow_config", nullptr},
        {"kasa_config", nullptr},
        {"ensure_weight_tying", false},
    };
    for (const auto& [key, peft_default] : others) {
      table.custom(reserved_field(key, peft_default));
    }
    table.value(
        "init_from", [](auto& o) -> auto& { return o.init_from; }, nullable(text()),
        "Folder of an adapter to continue from; its adapter_config.json gives every key that is not given here.");
    return table;
  }();
  return kTable;
}

}  // namespace lora::config
