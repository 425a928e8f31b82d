#include "config/eva_table.h"

namespace lora::config {

namespace {

using peft::EvaOptions;
using peft::LoraOptions;

const Table<EvaOptions>& eva_table() {
  static const Table<EvaOptions> kTable = [] {
    Table<EvaOptions> table;
    table
        .value(
            "rho", [](auto& o) -> auto& { return o.rho; }, number({.from = 1, .to = 65536}), "A module gets at most rho times its rank.")
        .value(
            "tau", [](auto& o) -> auto& { return o.tau; }, number({.from = 0, .to = 1}),
            "A direction has converged when its cosine with the one before is at least this.")
        .value(
            "use_label_mask", [](auto& o) -> auto& { return o.use_label_mask; }, boolean(), "Only tokens with a label count.")
        .value(
            "label_mask_value", [](auto& o) -> auto& { return o.label_mask_value; }, integer(-kLargestInteger),
            "The label of those that do not.")
        .value(
            "whiten", [](auto& o) -> auto& { return o.whiten; }, boolean(), "Divide each direction by the root of its singular value.")
        .value(
            "adjust_scaling_factors", [](auto& o) -> auto& { return o.adjust_scaling_factors; }, boolean(),
            "lora_alpha grows and shrinks with a module's rank.");
    return table;
  }();
  return kTable;
}

}  // namespace

Field<LoraOptions> eva_field() {
  Json schema = eva_table().schema();
  schema["type"] = {"object", "null"};
  return {"eva_config", "How init_lora_weights \"eva\" looks at the data.", schema, nullptr,
          [](const Json& value, LoraOptions& options, const Place& at) {
            if (!value.is_null()) {
              eva_table().read(value, options.eva, at);
            }
          }};
}

}  // namespace lora::config
