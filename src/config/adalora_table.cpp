#include "config/formula_fields.h"
#include "lora/base/log.h"

namespace lora::config {

namespace {

using peft::AdaLoraOptions;

const std::string kEnd = ".lora_E";

/// {"<module>.lora_E": [true, false, …]}, as PEFT writes it after training.
Field<AdaLoraOptions> stored_ranks_field() {
  Json schema{{"type", {"object", "null"}}, {"additionalProperties", {{"type", "array"}, {"items", {{"type", "boolean"}}}}}};
  Field<AdaLoraOptions> field{"rank_pattern", "Ranks that a stored adapter has kept, by module; written after training.", schema, nullptr,
                              [](const Json& value, AdaLoraOptions& options, const ConfigPlace& at) {
                                options.rank_pattern.clear();
                                if (!value.is_object() && !value.is_null()) {
                                  at.add("found " + shown(value) + ", expected an object of modules and their lists of true and false");
                                  return;
                                }
                                for (const auto& [name, list] : value.items()) {
                                  const size_t end = name.rfind(kEnd);
                                  const bool is_list = list.is_array() && std::all_of(list.begin(), list.end(), [](const Json& entry) {
                                                         return entry.is_boolean();
                                                       });
                                  if (end == std::string::npos || !is_list) {
                                    at.key(name).add("found " + shown(list) + ", expected the name of a module with " + kEnd +
                                                     " at its end, and a list of true and false");
                                    continue;
                                  }
                                  options.rank_pattern[name.substr(0, end)] = list.get<std::vector<bool>>();
                                }
                              }};
  field.only_where_given = true;
  return field;
}

/// PEFT warns and ignores it too.
Field<AdaLoraOptions> ignored_rank_field() {
  const Rule rule = integer(1, kLargestFormulaRank);
  Field<AdaLoraOptions> field{"r", "Has no effect, as in PEFT: the ranks are init_r and target_r.", rule.schema, 8,
                              [rule](const Json& value, AdaLoraOptions&, const ConfigPlace& at) {
                                if (accept(rule, value, at) && value != 8) {
                                  log::warn("[adapter.r] AdaLoRA does not use r: found " + value.dump() +
                                            ". The ranks are init_r and target_r.");
                                }
                              }};
  field.only_where_given = true;
  return field;
}

void add_schedule(Table<AdaLoraOptions>& table) {
  table
      .value(
          "tinit", [](auto& o) -> auto& { return o.tinit; }, integer(0), "Steps before ranks are removed.")
      .value(
          "tfinal", [](auto& o) -> auto& { return o.tfinal; }, integer(0), "Steps at the end in which no more ranks are removed.")
      .value(
          "deltaT", [](auto& o) -> auto& { return o.deltaT; }, integer(1), "Steps from one removal of ranks to the next.")
      .value(
          "total_step", [](auto& o) -> auto& { return o.total_step; }, nullable(integer(1)),
          "Steps of the whole schedule; null: those of the run.")
      .value(
          "beta1", [](auto& o) -> auto& { return o.beta1; }, number({.above = 0, .below = 1}),
          "Decay of the mean sensitivity of the loss to a number.")
      .value(
          "beta2", [](auto& o) -> auto& { return o.beta2; }, number({.above = 0, .below = 1}),
          "Decay of the mean uncertainty of that sensitivity.")
      .value(
          "orth_reg_weight", [](auto& o) -> auto& { return o.orth_reg_weight; }, number({.from = 0}),
          "Weight of the loss's term that keeps the singular vectors orthogonal.");
}

/// PEFT's config inherits LoRA's keys, which AdaLoRA refuses or does not read.
void add_keys_of_lora(Table<AdaLoraOptions>& table) {
  const std::vector<std::pair<std::string, Json>> of_lora{{"use_rslora", false},
                                                          {"use_dora", false},
                                                          {"lora_bias", false},
                                                          {"use_qalora", false},
                                                          {"qalora_group_size", 16},
                                                          {"ensure_weight_tying", false},
                                                          {"megatron_config", nullptr},
                                                          {"megatron_core", "megatron.core"},
                                                          {"eva_config", nullptr},
                                                          {"corda_config", nullptr},
                                                          {"lora_ga_config", nullptr},
                                                          {"velora_config", nullptr},
                                                          {"alora_invocation_tokens", nullptr},
                                                          {"monteclora_config", nullptr},
                                                          {"layer_replication", nullptr},
                                                          {"use_bdlora", nullptr},
                                                          {"arrow_config", nullptr},
                                                          {"kasa_config", nullptr},
                                                          {"trainable_token_indices", nullptr},
                                                          {"runtime_config", Json::object({{"ephemeral_gpu_offload", false}})}};
  for (const auto& [key, peft_default] : of_lora) {
    table.custom(reserved_field<AdaLoraOptions>(key, peft_default));
  }
  table.custom(reserved_field<AdaLoraOptions>("alpha_pattern", Json::object()))
      .custom(reserved_field<AdaLoraOptions>("loftq_config", nullptr, {Json::object()}))
      .custom(reserved_field<AdaLoraOptions>("target_parameters", nullptr, {Json::array()}));
}

}  // namespace

void add_keys(Table<AdaLoraOptions>& table) {
  table
      .value(
          "init_r", [](auto& o) -> auto& { return o.init_r; }, integer(1, kLargestFormulaRank), "Rank of each module at the start.")
      .value(
          "target_r", [](auto& o) -> auto& { return o.target_r; }, integer(1, kLargestFormulaRank), "Mean rank of the modules at the end.")
      .value(
          "lora_alpha", [](auto& o) -> auto& { return o.lora_alpha; }, number({.above = 0}),
          "Scale of the adapter: it is multiplied by lora_alpha / init_r.")
      .value(
          "lora_dropout", [](auto& o) -> auto& { return o.lora_dropout; }, number({.from = 0, .below = 1}),
          "Dropout rate of the adapter's inputs in training.");
  add_schedule(table);
  table.custom(stored_ranks_field()).custom(ignored_rank_field());
  table.value(
      "init_lora_weights", [](auto& o) -> auto& { return o.init_lora_weights; }, boolean(),
      "Start as the unchanged model; false: random values, for tests.");
  add_exclusion(table);
  add_bias(table, "lora_only");
  add_fan_in_fan_out(table);
  add_keys_of_lora(table);
}

void check_keys(const AdaLoraOptions& options, const ConfigPlace& at) {
  if (options.target_r > options.init_r) {
    at.key("target_r")
        .add("found " + std::to_string(options.target_r) + " with init_r " + std::to_string(options.init_r) +
             ", expected at most init_r: AdaLoRA removes ranks and adds none");
  }
  if (options.total_step && options.tinit + options.tfinal >= *options.total_step) {
    at.key("total_step")
        .add("found " + std::to_string(*options.total_step) + " with tinit " + std::to_string(options.tinit) + " and tfinal " +
             std::to_string(options.tfinal) + ", expected more than both together: no steps are left to remove ranks in");
  }
  for (const auto& [module, ranks] : options.rank_pattern) {
    if (static_cast<int64_t>(ranks.size()) != options.init_r) {
      at.key("rank_pattern").key(module + kEnd)
          .add("found " + std::to_string(ranks.size()) + " values, expected init_r, " + std::to_string(options.init_r));
    }
  }
}

}  // namespace lora::config
