#include "config/formula_fields.h"

namespace lora::config {

void add_keys(Table<peft::LokrOptions>& table) {
  using peft::LokrInit;
  add_lycoris_keys(table);
  const Rule rule = one_of({true, false, "lycoris"});
  const Rule factor = any_of({one_of({-1}), integer(1)});
  table
      .value(
          "decompose_both", [](auto& o) -> auto& { return o.decompose_both; }, boolean(),
          "Make the first factor a low-rank product too, where that is smaller.")
      .value(
          "decompose_factor", [](auto& o) -> auto& { return o.decompose_factor; }, factor,
          "Size of the first factor; -1: the divisors next to the square root.")
      .custom(reserved_field<peft::LokrOptions>("rank_dropout_scale", false))
      .custom({"init_weights", "Start: true (the first factor is zero), lycoris (the second is), or false (random values, for tests).",
               rule.schema, true, [rule](const Json& value, peft::LokrOptions& options, const ConfigPlace& at) {
                 if (accept(rule, value, at)) {
                   options.init = value == true ? LokrInit::kDefault : value == false ? LokrInit::kRandom : LokrInit::kLycoris;
                 }
               }});
}

}  // namespace lora::config
