#include "config/formula_fields.h"

namespace lora::config {

void add_keys(Table<peft::OftOptions>& table) {
  table
      .value(
          "r", [](auto& o) -> auto& { return o.r; }, integer(0, kLargestFormulaRank),
          "Number of blocks of inputs that are rotated; 0: oft_block_size gives it.")
      .value(
          "oft_block_size", [](auto& o) -> auto& { return o.oft_block_size; }, integer(0, kLargestFormulaRank),
          "Inputs of a block; 0: r gives it.")
      .value(
          "block_share", [](auto& o) -> auto& { return o.block_share; }, boolean(), "Rotate all blocks of a module in the same way.")
      .value(
          "use_cayley_neumann", [](auto& o) -> auto& { return o.use_cayley_neumann; }, boolean(),
          "Approximate the rotation by a series; false: compute it exactly, which turns in the opposite direction.")
      .value(
          "num_cayley_neumann_terms", [](auto& o) -> auto& { return o.num_cayley_neumann_terms; }, integer(1), "Terms of the series.");
  add_exclusion(table);
  add_init_weights(table);
  add_bias(table, "oft_only");
  table.custom(reserved_field<peft::OftOptions>("coft", false))
      .custom(reserved_field<peft::OftOptions>("eps", 6e-05))
      .custom(reserved_field<peft::OftOptions>("module_dropout", 0.0, {0}))
      .custom(reserved_field<peft::OftOptions>("fan_in_fan_out", false));
}

void check_keys(const peft::OftOptions& options, const ConfigPlace& at) {
  if ((options.r == 0) == (options.oft_block_size == 0)) {
    at.key("oft_block_size")
        .add("found r " + std::to_string(options.r) + " and oft_block_size " + std::to_string(options.oft_block_size) +
             ", expected one of them to be 0, as in PEFT: r · oft_block_size are the inputs of a module");
  }
}

}  // namespace lora::config
