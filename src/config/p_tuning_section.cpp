#include "config/p_tuning_section.h"

#include "config/prompt_table.h"

namespace lora::config {

namespace {

using peft::PTuningOptions;

constexpr int64_t kMostEncoderLayers = 100;

const Table<PTuningOptions>& p_tuning_table() {
  static const Table<PTuningOptions> kTable = [] {
    Table<PTuningOptions> table;
    table.fixed("peft_type", {peft::kPTuning}, "Method of the adapter.");
    add_virtual_tokens(table);
    table.choice(
        "encoder_reparameterization_type", [](auto& o) -> auto& { return o.encoder_reparameterization_type; }, peft::kPromptNetworks,
        "The network that computes the virtual tokens, which is trained and not part of PEFT's file: MLP or LSTM.");
    add_encoder_hidden_size(table);
    table
        .value(
            "encoder_num_layers", [](auto& o) -> auto& { return o.encoder_num_layers; }, integer(1, kMostEncoderLayers),
            "Layers of the LSTM; the MLP always has its three, as in PEFT.")
        .custom({"encoder_dropout", "Dropout rate between the layers of PEFT's LSTM; only 0 is accepted.", number({.from = 0}).schema, 0,
                 [](const Json& value, PTuningOptions&, const ConfigPlace& at) {
                   if (accept(number({.from = 0}), value, at) && value.get<double>() != 0) {
                     at.add("found " + shown(value) + ", expected 0: dropout between the layers of the LSTM is not supported yet");
                   }
                 }});
    add_shared_prompt_keys(table);
    return table;
  }();
  return kTable;
}

MethodKeys<PTuningOptions> p_tuning_keys() {
  return {peft::kPTuning, p_tuning_table(),
          [](const PTuningOptions& options, const Json&, const ConfigPlace& at) { require_virtual_tokens(options, at); },
          [](const Json& start, const Json& section, const ConfigPlace& at) {
            require_same_keys(start, section,
                              {"num_virtual_tokens", "encoder_reparameterization_type", "encoder_hidden_size", "encoder_num_layers"}, at);
          },
          settle_prompt};
}

}  // namespace

AdapterSection read_p_tuning_section(const Json& section, const ConfigPlace& at, const Context& context) {
  auto [options, resolved] = read_section(p_tuning_keys(), section, at, context);
  return {std::move(options), std::move(resolved)};
}

Json p_tuning_schema() {
  return p_tuning_table().schema();
}

peft::MethodOptions read_stored_p_tuning(const Json& config, const std::filesystem::path& folder, const ConfigPlace& file) {
  return read_stored(p_tuning_keys(), config, folder, file);
}

}  // namespace lora::config
