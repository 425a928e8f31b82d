#include "config/quantization_field.h"

#include "lora/base/regex.h"

namespace lora::config {

namespace {

using models::ModelOptions;
using models::Quantization;

/// The block sizes that bitsandbytes has.
Rule block_size_rule() {
  std::vector<Json> sizes;
  for (int size = 32; size <= 4096; size *= 2) {
    sizes.emplace_back(size);
  }
  return one_of(std::move(sizes));
}

Field<Quantization> skip_modules_field() {
  const Rule rule = nullable(list_of(text()));
  Field<Quantization> field{"skip_modules",
                            "More modules that keep plain numbers, named as for transformers' llm_int8_skip_modules: a name or regular "
                            "expression from the start of the module's name to the end of a part, or its end. Heads, embeddings, norms and "
                            "routers always do.",
                            rule.schema, nullptr, nullptr};
  field.read = [rule](const Json& value, Quantization& options, const ConfigPlace& at) {
    if (!accept(rule, value, at) || value.is_null()) {
      return;
    }
    options.skip_modules = value.get<std::vector<std::string>>();
    for (size_t i = 0; i < options.skip_modules.size(); ++i) {
      try {
        const Regex tried(options.skip_modules[i], at.item(i).path, ErrorKind::kConfig);
      } catch (const Error&) {
        at.item(i).add("found " + shown(Json(options.skip_modules[i])) + ", expected a name or a regular expression");
      }
    }
  };
  field.show = [](const Quantization& options) { return options.skip_modules.empty() ? Json(nullptr) : Json(options.skip_modules); };
  field.example = Json::array({"mlp.down_proj"});
  return field;
}

const Table<Quantization>& quantization_table() {
  static const Table<Quantization> kTable = [] {
    Table<Quantization> table;
    table
        .choice(
            "type", [](auto& o) -> auto& { return o.type; }, models::kQuantizationKinds,
            "Format of the weights of projections: nf4 or fp4 (4 bits), int8, or none, which decodes a model that is packed already.")
        .required()
        .value(
            "double_quant", [](auto& o) -> auto& { return o.double_quant; }, boolean(),
            "Quantise the scales of nf4 and fp4 too: 4.127 bits for each parameter instead of 4.5.")
        .value(
            "block_size", [](auto& o) -> auto& { return o.block_size; }, block_size_rule(),
            "Number of neighbouring values with a common scale in nf4 and fp4.")
        .custom(skip_modules_field());
    return table;
  }();
  return kTable;
}

}  // namespace

Field<ModelOptions> quantization_field() {
  Json schema = quantization_table().schema();
  schema["type"] = {"object", "null"};
  Field<ModelOptions> field{"quantization",
                            "Storage of the frozen weights of projections in 4 or 8 bits, quantised while the model is loaded; null: as in "
                            "the checkpoint.",
                            schema, nullptr, nullptr};
  field.read = [](const Json& value, ModelOptions& options, const ConfigPlace& at) {
    if (!value.is_null()) {
      quantization_table().read(value, options.quantization.emplace(), at);
    }
  };
  field.show = [](const ModelOptions& options) {
    return options.quantization ? quantization_table().resolved(*options.quantization, Json::object()) : Json(nullptr);
  };
  field.example = Json{{"type", "nf4"}, {"double_quant", true}};
  return field;
}

}  // namespace lora::config
