#include "config/formula_fields.h"

namespace lora::config {

void add_keys(Table<peft::RandLoraOptions>& table) {
  add_rank(table, "Rank of each random basis.");
  add_projection(table);
  table
      .value(
          "randlora_alpha", [](auto& o) -> auto& { return o.randlora_alpha; }, number({.above = 0}),
          "Strength of the adapter, scaled by randlora_alpha / r.")
      .value(
          "randlora_dropout", [](auto& o) -> auto& { return o.randlora_dropout; }, number({.from = 0, .below = 1}),
          "Dropout rate of the adapter's inputs in training.");
  for (const char* key : {"sparse", "very_sparse"}) {
    table.custom(reserved_field<peft::RandLoraOptions>(key, false));
  }
  table.custom(reserved_field<peft::RandLoraOptions>("init_weights", true));
  add_bias(table, "randlora_only");
  add_fan_in_fan_out(table);
}

}  // namespace lora::config
