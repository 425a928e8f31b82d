#include "config/prompt_section.h"

#include "config/prompt_table.h"

namespace lora::config {

namespace {

using peft::PromptInit;
using peft::PromptTuningOptions;

const Table<PromptTuningOptions>& prompt_table() {
  static const Table<PromptTuningOptions> kTable = [] {
    Table<PromptTuningOptions> table;
    table.fixed("peft_type", {peft::kPromptTuning}, "Method of the adapter.");
    add_virtual_tokens(table);
    table
        .choice(
            "prompt_tuning_init", [](auto& o) -> auto& { return o.prompt_tuning_init; }, peft::kPromptInits,
            "Initialisation of the virtual tokens: RANDOM (N(0, 1), which is large next to most embeddings), SAMPLE_VOCAB (the embeddings "
            "of random tokens), TEXT (those of prompt_tuning_init_text, repeated or cut).")
        .value(
            "prompt_tuning_init_text", [](auto& o) -> auto& { return o.prompt_tuning_init_text; }, nullable(any_text()),
            "Text whose tokens' embeddings TEXT starts from.")
        .example("Is the review positive or negative?")
        .value(
            "tokenizer_name_or_path", [](auto& o) -> auto& { return o.tokenizer_name_or_path; }, nullable(text()),
            "PEFT's name of the tokenizer for prompt_tuning_init_text; it must be the run's own, which is used anyway.")
        .example("model");
    Rule anything;
    anything.schema = Json::object();
    const Rule none = nullable(map_of(anything));
    table
        .custom({"tokenizer_kwargs", "PEFT's arguments for that tokenizer; only null or {} is accepted.", none.schema, nullptr,
                 [](const Json& value, PromptTuningOptions&, const ConfigPlace& at) {
                   if (!value.is_null() && value != Json::object()) {
                     at.add("found " + shown(value) + ", expected null: the text is tokenized as the run's other texts are");
                   }
                 }})
        .only_where_given();
    add_shared_prompt_keys(table);
    return table;
  }();
  return kTable;
}

/// PEFT's own rules (PromptTuningConfig.__post_init__), except that the tokenizer need not be named.
void check_prompt(const PromptTuningOptions& options, const Json&, const ConfigPlace& at) {
  require_virtual_tokens(options, at);
  if (options.prompt_tuning_init == PromptInit::kText && !options.prompt_tuning_init_text && !options.init_from) {
    at.key("prompt_tuning_init_text").add("is missing: prompt_tuning_init \"TEXT\" starts from a text");
  }
}

MethodKeys<PromptTuningOptions> prompt_keys() {
  return {
      peft::kPromptTuning, prompt_table(), check_prompt,
      [](const Json& start, const Json& section, const ConfigPlace& at) { require_same_keys(start, section, {"num_virtual_tokens"}, at); },
      settle_prompt};
}

}  // namespace

AdapterSection read_prompt_section(const Json& section, const ConfigPlace& at, const Context& context) {
  auto [options, resolved] = read_section(prompt_keys(), section, at, context);
  return {std::move(options), std::move(resolved)};
}

Json prompt_schema() {
  return prompt_table().schema();
}

peft::MethodOptions read_stored_prompt(const Json& config, const std::filesystem::path& folder, const ConfigPlace& file) {
  return read_stored(prompt_keys(), config, folder, file);
}

}  // namespace lora::config
