#include "config/loftq_field.h"

namespace lora::config {

namespace {

/// The keys decide nothing that model.quantization does not: they are accepted where they agree with it, because PEFT's configs have them.
struct LoftqConfig {
  std::optional<int64_t> loftq_bits;
  int64_t loftq_iter = 1;
};

const Table<LoftqConfig>& loftq_table() {
  static const Table<LoftqConfig> kTable = [] {
    Table<LoftqConfig> table;
    Rule one = one_of({1});
    one.note = "Further iterations would change the quantised base, so that the adapter would fit no base that another program loads";
    table
        .value(
            "loftq_bits", [](auto& o) -> auto& { return o.loftq_bits; }, one_of({4, 8, nullptr}),
            "Bits of the quantised base, which must agree with model.quantization; null: they do.")
        .value(
            "loftq_iter", [](auto& o) -> auto& { return o.loftq_iter; }, one, "Number of times that the error is decomposed: 1.");
    return table;
  }();
  return kTable;
}

}  // namespace

Field<peft::LoraOptions> loftq_field() {
  Json schema = loftq_table().schema();
  schema["type"] = {"object", "null"};
  Field<peft::LoraOptions> field{"loftq_config", "How init_lora_weights \"loftq\" decomposes the error of quantisation.", schema,
                                 Json::object(), nullptr};
  field.read = [](const Json& value, peft::LoraOptions&, const ConfigPlace& at) {
    if (!value.is_null()) {
      LoftqConfig read;
      loftq_table().read(value, read, at);
    }
  };
  return field;
}

}  // namespace lora::config
