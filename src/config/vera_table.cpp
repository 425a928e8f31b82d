#include "config/formula_fields.h"

namespace lora::config {

void add_keys(Table<peft::VeraOptions>& table) {
  add_rank(table, "Rank of the pair of random matrices that all modules share.");
  add_projection(table);
  table
      .value(
          "vera_dropout", [](auto& o) -> auto& { return o.vera_dropout; }, number({.from = 0, .below = 1}),
          "Dropout rate of the adapter's inputs in training.")
      .value(
          "d_initial", [](auto& o) -> auto& { return o.d_initial; }, number({}), "First value of vera_lambda_d.");
  table.custom(reserved_field<peft::VeraOptions>("init_weights", true));
  add_bias(table, "vera_only");
  add_fan_in_fan_out(table);
}

}  // namespace lora::config
