#include "config/formula_fields.h"

namespace lora::config {

void add_keys(Table<peft::Ia3Options>& table) {
  add_exclusion(table);
  Field<peft::Ia3Options> feedforward = modules_field<peft::Ia3Options>(
      "feedforward_modules", &peft::Ia3Options::feedforward_modules, false,
      "Those of target_modules whose inputs are scaled, not their outputs: ends of names, or a regular expression for whole names; null: "
      "the default of the model's family; []: none.");
  feedforward.read = [read = feedforward.read](const Json& value, peft::Ia3Options& options, const ConfigPlace& at) {
    read(value, options, at);
    if (value.is_array() && value.empty()) {
      options.feedforward_modules.kind = ModuleChoice::Kind::kList;
    }
  };
  table.custom(std::move(feedforward))
      .example({"down_proj"})
      .value(
          "init_ia3_weights", [](auto& o) -> auto& { return o.init_ia3_weights; }, boolean(), "Start with factors of 1; false: N(0, 1).");
  add_fan_in_fan_out(table);
}

}  // namespace lora::config
