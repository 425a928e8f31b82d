#include "config/prefix_section.h"

#include "config/prompt_table.h"

namespace lora::config {

namespace {

using peft::PrefixOptions;

const Table<PrefixOptions>& prefix_table() {
  static const Table<PrefixOptions> kTable = [] {
    Table<PrefixOptions> table;
    table.fixed("peft_type", {peft::kPrefixTuning}, "Method of the adapter.");
    add_virtual_tokens(table);
    table.value(
        "prefix_projection", [](auto& o) -> auto& { return o.prefix_projection; }, boolean(),
        "Compute the keys and values from smaller rows by a network of two layers, which is trained and not part of PEFT's file.");
    add_encoder_hidden_size(table);
    Rule init = nullable(one_of({"zero"}));
    init.expected = "\"zero\" or null";
    table.value(
        "init_weights", [](auto& o) -> auto& { return o.init_weights; }, init,
        "Initialisation of the keys and values: null: random (with prefix_projection, of the network); zero.");
    add_shared_prompt_keys(table);
    return table;
  }();
  return kTable;
}

MethodKeys<PrefixOptions> prefix_keys() {
  return {peft::kPrefixTuning, prefix_table(),
          [](const PrefixOptions& options, const Json&, const ConfigPlace& at) { require_virtual_tokens(options, at); },
          [](const Json& start, const Json& section, const ConfigPlace& at) {
            require_same_keys(start, section, {"num_virtual_tokens", "prefix_projection", "encoder_hidden_size"}, at);
          },
          settle_prompt};
}

}  // namespace

AdapterSection read_prefix_section(const Json& section, const ConfigPlace& at, const Context& context) {
  auto [options, resolved] = read_section(prefix_keys(), section, at, context);
  return {std::move(options), std::move(resolved)};
}

Json prefix_schema() {
  return prefix_table().schema();
}

peft::MethodOptions read_stored_prefix(const Json& config, const std::filesystem::path& folder, const ConfigPlace& file) {
  return read_stored(prefix_keys(), config, folder, file);
}

}  // namespace lora::config
