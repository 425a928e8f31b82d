#pragma once
#include "config/formula_section.h"
#include "config/rule.h"

// Fields that several formulas have.
namespace lora::config {

inline constexpr int64_t kLargestFormulaRank = 65536;

template <typename Options>
void add_rank(Table<Options>& table, const std::string& description) {
  table
      .value(
          "r", [](auto& o) -> auto& { return o.r; }, integer(1, kLargestFormulaRank), description)
      .example(16);
}

template <typename Options>
void add_init_weights(Table<Options>& table) {
  table.value(
      "init_weights", [](auto& o) -> auto& { return o.init_weights; }, boolean(),
      "Start as the unchanged model; false: random values, for tests.");
}

template <typename Options>
void add_fan_in_fan_out(Table<Options>& table) {
  table
      .value(
          "fan_in_fan_out", [](auto& o) -> auto& { return o.fan_in_fan_out; }, boolean(),
          "Weights are stored as [in, out]; only a merge without a model reads it.")
      .only_where_given();
}

/// What LoHa and LoKr have in common.
template <typename Options>
void add_lycoris_keys(Table<Options>& table) {
  add_rank(table, "Rank of the adapter.");
  table
      .value(
          "alpha", [](auto& o) -> auto& { return o.alpha; }, number({.above = 0}), "Strength of the adapter, scaled by alpha / r.")
      .custom(pattern_field<Options, int64_t>("rank_pattern", &Options::rank_pattern, integer(1, kLargestFormulaRank),
                                              "Ranks that replace r, by the end of a module's name or a regular expression."))
      .custom(pattern_field<Options, double>("alpha_pattern", &Options::alpha_pattern, number({.above = 0}),
                                             "Values that replace alpha, keyed like rank_pattern."));
  add_exclusion(table);
  for (const char* key : {"rank_dropout", "module_dropout"}) {
    table.custom(reserved_field<Options>(key, 0.0, {0}));
  }
  table.custom(reserved_field<Options>("use_effective_conv2d", false));
}

/// The random pair that all modules share (VeRA, RandLoRA).
template <typename Options>
void add_projection(Table<Options>& table) {
  table
      .value(
          "projection_prng_key", [](auto& o) -> auto& { return o.projection_prng_key; }, integer(0), "Seed of the fixed random matrices.")
      .value(
          "save_projection", [](auto& o) -> auto& { return o.save_projection; }, boolean(),
          "Save the fixed random matrices with the adapter; without them they are drawn again.");
}

}  // namespace lora::config
