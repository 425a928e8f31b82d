#include "config/formula_fields.h"

namespace lora::config {

void add_keys(Table<peft::MissOptions>& table) {
  using peft::MissKind;
  const Rule rule = one_of({true, false, "bat", "mini"});
  add_rank(table, "Rank: the inputs that share a row of the block.");
  table
      .value(
          "miss_dropout", [](auto& o) -> auto& { return o.miss_dropout; }, number({.from = 0, .below = 1}),
          "Dropout rate of the adapter's inputs in training.")
      .value(
          "mini_r", [](auto& o) -> auto& { return o.mini_r; }, integer(1, kLargestFormulaRank),
          "Width of the block with init_weights \"mini\".")
      .custom({"init_weights",
               "The formula: true, bat (over the weight itself), mini (a block that repeats), or false (true with random values).",
               rule.schema, true, [rule](const Json& value, peft::MissOptions& options, const ConfigPlace& at) {
                 if (accept(rule, value, at)) {
                   options.kind = value == true    ? MissKind::kBlock
                                  : value == false ? MissKind::kRandom
                                  : value == "bat" ? MissKind::kBat
                                                   : MissKind::kMini;
                 }
               }});
  add_exclusion(table);
  add_bias(table, "MiSS_only");
}

}  // namespace lora::config
