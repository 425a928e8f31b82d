#include "config/corda_table.h"

#include "config/target_fields.h"

namespace lora::config {

namespace {

using peft::CordaOptions;
using peft::LoraOptions;

const Table<CordaOptions>& corda_table() {
  static const Table<CordaOptions> kTable = [] {
    Table<CordaOptions> table;
    table
        .choice(
            "corda_method", [](auto& o) -> auto& { return o.method; }, peft::kCordaMethods,
            "Which part of the weight the adapter gets: what the data use most (ipm), or least, so that it stays in the base (kpm).")
        .value(
            "use_float16_for_covariance", [](auto& o) -> auto& { return o.use_float16_for_covariance; }, boolean(),
            "Add the covariances up in the model's dtype rather than in float32.")
        .value(
            "num_documents", [](auto& o) -> auto& { return o.num_documents; }, integer(1),
            "Number of training documents whose covariance is measured, at most an epoch (not a key of PEFT, whose caller decides).")
        .custom(reserved_field<CordaOptions>("cache_file", nullptr))
        .custom(reserved_field<CordaOptions>("covariance_file", nullptr))
        .custom(reserved_field<CordaOptions>("verbose", false, {true}))
        .custom(reserved_field<CordaOptions>("prune_temporary_fields", true));
    return table;
  }();
  return kTable;
}

}  // namespace

Field<LoraOptions> corda_field() {
  Json schema = corda_table().schema();
  schema["type"] = {"object", "null"};
  return {"corda_config", "How init_lora_weights \"corda\" analyses the data.", schema, nullptr,
          [](const Json& value, LoraOptions& options, const ConfigPlace& at) {
            if (!value.is_null()) {
              corda_table().read(value, options.corda, at);
            }
          }};
}

}  // namespace lora::config
