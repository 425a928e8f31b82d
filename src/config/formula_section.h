#pragma once
#include <string>
#include <vector>

#include "config/adapter_entry.h"
#include "config/method_keys.h"
#include "config/target_fields.h"
#include "lora/peft/formula_options.h"
#include "lora/peft/replacement_options.h"

// The sections of methods that are a formula (peft/formula.h) or train copies of weights (peft/replacement_method.h): they choose modules
// by target_modules. Each has a file with its keys and its rules.
namespace lora::config {

/// Adds the keys that belong to one method, without those that all have.
void add_keys(Table<peft::Ia3Options>& table);
void add_keys(Table<peft::VeraOptions>& table);
void add_keys(Table<peft::LohaOptions>& table);
void add_keys(Table<peft::LokrOptions>& table);
void add_keys(Table<peft::OftOptions>& table);
void add_keys(Table<peft::BoftOptions>& table);
void add_keys(Table<peft::HraOptions>& table);
void add_keys(Table<peft::MissOptions>& table);
void add_keys(Table<peft::RandLoraOptions>& table);
void add_keys(Table<peft::AdaLoraOptions>& table);
void add_keys(Table<peft::LnTuningOptions>& table);
void add_keys(Table<peft::BitFitOptions>& table);
void add_keys(Table<peft::TrainableTokensOptions>& table);

/// Reports keys that do not go together, in a run's section or a stored adapter's config.
inline void check_keys(const peft::TargetOptions&, const ConfigPlace&) {}
void check_keys(const peft::OftOptions& options, const ConfigPlace& at);
void check_keys(const peft::BoftOptions& options, const ConfigPlace& at);
void check_keys(const peft::TrainableTokensOptions& options, const ConfigPlace& at);
void check_keys(const peft::AdaLoraOptions& options, const ConfigPlace& at);

/// Adds `bias`, whose third value is named after the method: "oft_only".
template <typename Options>
void add_bias(Table<Options>& table, const std::string& only) {
  Rule rule = one_of({"none", "all", only});
  const std::string description = "Biases of the base model to train: none, all, or " + only + " (those of the adapted modules).";
  table.custom({"bias", description, rule.schema, "none", [rule](const Json& value, Options& options, const ConfigPlace& at) {
                  if (accept(rule, value, at)) {
                    options.bias = value == "none"  ? peft::TrainedBias::kNone
                                   : value == "all" ? peft::TrainedBias::kAll
                                                    : peft::TrainedBias::kLoraOnly;
                  }
                }});
}

template <typename Options>
const Table<Options>& formula_table(const char* peft_type) {
  static const Table<Options> kTable = [peft_type] {
    Table<Options> table;
    table.fixed("peft_type", {peft_type}, "Method of the adapter.");
    add_keys(table);
    add_targets(table);
    add_metadata(table);
    add_init_from(table);
    return table;
  }();
  return kTable;
}

/// The adapter of init_from has its shapes and fixed values already.
inline void check_formula_start(const Json& start, const Json& section, const ConfigPlace& at) {
  for (const char* key :
       {"r", "rank_pattern", "decompose_both", "decompose_factor", "oft_block_size", "block_share", "use_cayley_neumann",
        "num_cayley_neumann_terms", "boft_block_size", "boft_block_num", "apply_GS", "mini_r", "projection_prng_key", "token_indices",
        "init_r"}) {
    if (section.contains(key) && start.contains(key) && section[key] != start[key]) {
      at.key(key).add("found " + shown(section[key]) + ", but the adapter of init_from has " + shown(start[key]) +
                      ": remove this key to continue from that adapter");
    }
  }
}

/// The keys of the method with these options.
template <typename Options, const char* const& kPeftType>
MethodKeys<Options> formula_keys() {
  return {kPeftType, formula_table<Options>(kPeftType),
          [](const Options& options, const Json&, const ConfigPlace& at) {
            check_layers(options, at);
            check_keys(options, at);
          },
          check_formula_start,
          [](const Json&, const std::filesystem::path&, AdapterUse use, Options& options, const ConfigPlace& file) {
            if (use == AdapterUse::kCompute) {
              check_layers(options, file);
              check_keys(options, file);
            }
          }};
}

/// The line of the table of methods.
template <typename Options, const char* const& kPeftType>
constexpr AdapterEntry formula_entry() {
  return {kPeftType,
          [](const Json& section, const ConfigPlace& at, const Context& context) -> AdapterSection {
            auto [options, resolved] = read_section(formula_keys<Options, kPeftType>(), section, at, context);
            return {std::move(options), std::move(resolved)};
          },
          [](const Json& config, const std::filesystem::path& folder, const ConfigPlace& file) -> peft::MethodOptions {
            return read_stored(formula_keys<Options, kPeftType>(), config, folder, file);
          },
          [] { return formula_table<Options>(kPeftType).schema(); }};
}

}  // namespace lora::config
