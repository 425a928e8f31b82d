#include "config/formula_fields.h"

namespace lora::config {

void add_keys(Table<peft::BoftOptions>& table) {
  table
      .value(
          "boft_block_size", [](auto& o) -> auto& { return o.boft_block_size; }, integer(0, kLargestFormulaRank),
          "Inputs of a block that is rotated; 0: boft_block_num gives it.")
      .value(
          "boft_block_num", [](auto& o) -> auto& { return o.boft_block_num; }, integer(0, kLargestFormulaRank),
          "Number of blocks; 0: boft_block_size gives it.");
  add_exclusion(table);
  add_init_weights(table);
  add_bias(table, "boft_only");
  table.custom(reserved_field<peft::BoftOptions>("boft_n_butterfly_factor", 1))
      .custom(reserved_field<peft::BoftOptions>("boft_dropout", 0.0, {0}))
      .custom(reserved_field<peft::BoftOptions>("fan_in_fan_out", false));
}

void check_keys(const peft::BoftOptions& options, const ConfigPlace& at) {
  if ((options.boft_block_size == 0) == (options.boft_block_num == 0)) {
    at.key("boft_block_size")
        .add("found boft_block_size " + std::to_string(options.boft_block_size) + " and boft_block_num " +
             std::to_string(options.boft_block_num) + ", expected one of them to be 0, as in PEFT");
  }
}

}  // namespace lora::config
