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
            "rho", [](auto& o) -> auto& { return o.rho; }, number({.from = 1, .to = 65536}),
            "Largest rank of a module, as a multiple of its configured rank.")
        .value(
            "tau", [](auto& o) -> auto& { return o.tau; }, number({.from = 0, .to = 1}),
            "A direction has converged when its cosine similarity with the previous estimate is at least this value.")
        .value(
            "use_label_mask", [](auto& o) -> auto& { return o.use_label_mask; }, boolean(), "Use only the tokens that have a label.")
        .value(
            "label_mask_value", [](auto& o) -> auto& { return o.label_mask_value; }, integer(-kLargestInteger),
            "Label of the tokens that use_label_mask leaves out.")
        .value(
            "whiten", [](auto& o) -> auto& { return o.whiten; }, boolean(),
            "Divide each direction by the square root of its singular value.")
        .value(
            "adjust_scaling_factors", [](auto& o) -> auto& { return o.adjust_scaling_factors; }, boolean(),
            "Change lora_alpha in proportion to each module's new rank, so that the scale is unchanged.");
    return table;
  }();
  return kTable;
}

}  // namespace

Field<LoraOptions> eva_field() {
  Json schema = eva_table().schema();
  schema["type"] = {"object", "null"};
  return {"eva_config", "How init_lora_weights \"eva\" analyses the data.", schema, nullptr,
          [](const Json& value, LoraOptions& options, const ConfigPlace& at) {
            if (!value.is_null()) {
              eva_table().read(value, options.eva, at);
            }
          }};
}

}  // namespace lora::config
