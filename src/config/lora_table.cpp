#include "config/lora_table.h"

#include <algorithm>

#include "config/corda_table.h"
#include "config/eva_table.h"
#include "config/loftq_field.h"
#include "config/lora_ga_table.h"
#include "config/method_keys.h"
#include "config/regex_check.h"
#include "config/schema_check.h"
#include "config/target_fields.h"
#include "lora/base/text.h"

namespace lora::config {

namespace {

using peft::LoraInit;
using peft::LoraOptions;

constexpr int64_t kLargestRank = 65536;

std::vector<int64_t> ids_of(const Json& list) {
  std::vector<int64_t> ids;
  for (const Json& id : list) {
    ids.push_back(from_json<int64_t>(id));
  }
  return ids;
}

/// A list is for the input embeddings; an object holds one list per layer.
Field<LoraOptions> token_indices_field() {
  const Rule ids = list_of(integer(0), 1);
  Rule rule = nullable(any_of({ids, map_of(ids)}));
  rule.expected = "a list of token ids, an object of layer names with a list of token ids each, or null";
  return {"trainable_token_indices",
          "Ids of the tokens whose rows of the input embeddings are trained, or an object of layer names with such a list each.",
          rule.schema, nullptr, [rule](const Json& value, LoraOptions& options, const ConfigPlace& at) {
            if (!accept(rule, value, at)) {
              return;
            }
            options.trainable_token_indices.clear();
            if (value.is_array()) {
              options.trainable_token_indices.push_back({"", ids_of(value)});
            } else if (value.is_object()) {
              for (const auto& [layer, list] : value.items()) {
                options.trainable_token_indices.push_back({layer, ids_of(list)});
              }
            }
          }};
}

constexpr std::string_view kPissaNiterPrefix = "pissa_niter_";

/// `value` satisfies the rule of init_field().
void set_init(const Json& value, LoraOptions& options) {
  options.pissa_niter = 0;
  if (value.is_boolean()) {
    options.init = value.get<bool>() ? LoraInit::kDefault : LoraInit::kRandom;
  } else if (const auto name = value.get<std::string>(); name.starts_with(kPissaNiterPrefix)) {
    options.init = LoraInit::kPissa;
    options.pissa_niter = std::stoll(name.substr(kPissaNiterPrefix.size()));
  } else {
    options.init = *peft::kNamedInits.find(name);
  }
}

Field<LoraOptions> init_field() {
  std::vector<Json> values{true, false};
  for (const std::string& name : peft::kNamedInits.names()) {
    values.emplace_back(name);
  }
  Rule pissa_niter = text();
  pissa_niter.schema["pattern"] = "^" + std::string(kPissaNiterPrefix) + "[1-9][0-9]{0,3}$";
  Rule rule = any_of({one_of(values), pissa_niter});
  rule.expected = expected_text(one_of(values).schema) + ", or \"pissa_niter_N\" with N from 1 to 9999";
  rule.later = {"mica"};
  return {"init_lora_weights",
          "Initialisation of the adapter: true (B is zero), gaussian, orthogonal, from the base weight (pissa, pissa_niter_N, olora), from "
          "the error of quantising it (loftq), from the data (eva, corda, lora_ga), or false (B is random, for tests).",
          rule.schema, true, [rule](const Json& value, LoraOptions& options, const ConfigPlace& at) {
            if (accept(rule, value, at)) {
              set_init(value, options);
            }
          }};
}

void add_modules_and_ranks(Table<LoraOptions>& table) {
  table.fixed("peft_type", {"LORA"}, "Method of the adapter.")
      .value(
          "r", [](auto& o) -> auto& { return o.r; }, integer(1, kLargestRank), "Rank of the adapter.")
      .example(16)
      .value(
          "lora_alpha", [](auto& o) -> auto& { return o.lora_alpha; }, number({.above = 0}),
          "Strength of the adapter, whose output is scaled by lora_alpha / r.")
      .example(32)
      .value(
          "lora_dropout", [](auto& o) -> auto& { return o.lora_dropout; }, number({.from = 0, .below = 1}),
          "Dropout rate of the adapter's inputs in training.")
      .example(0.05)
      .custom(modules_field<LoraOptions>(
          "target_modules", &LoraOptions::target_modules, true,
          "Modules to adapt: names or ends of names, a regular expression for whole names, or all-linear; null: the "
          "default of the model's family."))
      .example({"q_proj", "v_proj"})
      .custom(
          modules_field<LoraOptions>("exclude_modules", &LoraOptions::exclude_modules, false, "Modules to leave out of target_modules."))
      .example({"lm_head"})
      .custom(layers_field<LoraOptions>())
      .example({0, 1})
      .custom(layers_pattern_field<LoraOptions>())
      .example("layers")
      .custom(pattern_field<LoraOptions, int64_t>(
          "rank_pattern", &LoraOptions::rank_pattern, integer(1, kLargestRank),
          "Ranks that replace r, by the end of a module's name or a regular expression; the first match counts."))
      .example({{"v_proj", 16}})
      .custom(pattern_field<LoraOptions, double>("alpha_pattern", &LoraOptions::alpha_pattern, number({.above = 0}),
                                                 "Values that replace lora_alpha, keyed like rank_pattern."))
      .example({{"v_proj", 32}});
}

/// What is trained in the adapted modules.
void add_trained_parts(Table<LoraOptions>& table) {
  table
      .choice(
          "bias", [](auto& o) -> auto& { return o.bias; }, peft::kTrainedBiases,
          "Biases of the base model to train: none, all, or lora_only (those of the adapted modules).")
      .value(
          "use_rslora", [](auto& o) -> auto& { return o.use_rslora; }, boolean(),
          "Scale by lora_alpha / sqrt(r) instead of lora_alpha / r (rank-stabilised LoRA).")
      .value(
          "use_dora", [](auto& o) -> auto& { return o.use_dora; }, boolean(), "Train the norms of the weight's rows as well (DoRA).");
}

/// How the pairs are initialised.
void add_starts(Table<LoraOptions>& table) {
  table.custom(init_field())
      .example("pissa")
      .custom(eva_field())
      .only_where_given()
      .example({{"rho", 2}})
      .custom(corda_field())
      .only_where_given()
      .example({{"corda_method", "kpm"}})
      .custom(lora_ga_field())
      .only_where_given()
      .example({{"direction", "ArB2r"}})
      .custom(loftq_field())
      .only_where_given()
      .example({{"loftq_bits", 4}});
}

/// What is trained outside the adapted modules, and how the pairs deal with biases, layouts and ties.
void add_other_parts(Table<LoraOptions>& table) {
  table.custom(modules_to_save_field<LoraOptions>())
      .example({"embed_tokens", "lm_head"})
      .custom(token_indices_field())
      .only_where_given()
      .example({151, 152})
      .value(
          "lora_bias", [](auto& o) -> auto& { return o.lora_bias; }, boolean(), "Give lora_B a trained bias.")
      .only_where_given()
      .value(
          "fan_in_fan_out", [](auto& o) -> auto& { return o.fan_in_fan_out; }, boolean(),
          "Weights are stored as [in, out]; only a merge without a model reads it, otherwise the model's modules decide, as in PEFT.")
      .only_where_given()
      .value(
          "ensure_weight_tying", [](auto& o) -> auto& { return o.ensure_weight_tying; }, boolean(),
          "Apply what is trained in the embeddings also to an output head that is tied to them.")
      .only_where_given();
}

}  // namespace

const Table<LoraOptions>& lora_table() {
  static const Table<LoraOptions> kTable = [] {
    Table<LoraOptions> table;
    add_modules_and_ranks(table);
    add_trained_parts(table);
    add_starts(table);
    add_other_parts(table);
    add_metadata(table);
    const std::vector<std::pair<std::string, Json>> others{
        {"megatron_config", nullptr},
        {"megatron_core", "megatron.core"},
        {"velora_config", nullptr},
        {"alora_invocation_tokens", nullptr},
        {"use_qalora", false},
        {"qalora_group_size", 16},
        {"monteclora_config", nullptr},
        {"layer_replication", nullptr},
        {"runtime_config", Json::object({{"ephemeral_gpu_offload", false}})},
        {"use_bdlora", nullptr},
        {"arrow_config", nullptr},
        {"kasa_config", nullptr},
        {"enable_lora", nullptr},  // PEFT before 0.3: LoRA for parts of a fused projection
    };
    for (const auto& [key, peft_default] : others) {
      table.custom(reserved_field<LoraOptions>(key, peft_default));
    }
    table.custom(reserved_field<LoraOptions>("target_parameters", nullptr, {Json::array()}));  // as PEFT writes it for models with experts
    add_init_from(table);
    return table;
  }();
  return kTable;
}

}  // namespace lora::config
