#include "config/lora_ga_table.h"

namespace lora::config {

namespace {

using peft::LoraGaOptions;
using peft::LoraOptions;

const Table<LoraGaOptions>& lora_ga_table() {
  static const Table<LoraGaOptions> kTable = [] {
    Table<LoraGaOptions> table;
    table
        .choice(
            "direction", [](auto& o) -> auto& { return o.direction; }, peft::kGradientVectors,
            "Which of the gradient's 2r largest singular vectors A and B get.")
        .choice(
            "scale", [](auto& o) -> auto& { return o.scale; }, peft::kGradientScales,
            "How B is scaled: by the number of outputs (stable), to the weight's largest singular value (weight_svd), A and B by r / "
            "lora_alpha (gd_scale), or not (unit).")
        .value(
            "stable_gamma", [](auto& o) -> auto& { return o.stable_gamma; }, integer(1),
            "With \"stable\", B is multiplied by the fourth root of its outputs divided by the square root of this number.")
        .value(
            "num_batches", [](auto& o) -> auto& { return o.num_batches; }, integer(1),
            "Number of micro-batches whose gradients are averaged, at most an epoch (not a key of PEFT, whose caller decides).");
    return table;
  }();
  return kTable;
}

}  // namespace

Field<LoraOptions> lora_ga_field() {
  Json schema = lora_ga_table().schema();
  schema["type"] = {"object", "null"};
  return {"lora_ga_config", "How init_lora_weights \"lora_ga\" uses the gradients.", schema, nullptr,
          [](const Json& value, LoraOptions& options, const ConfigPlace& at) {
            if (!value.is_null()) {
              lora_ga_table().read(value, options.lora_ga, at);
            }
          }};
}

}  // namespace lora::config
