#include "run_prompts.h"

#include <algorithm>

#include "control_tokens.h"
#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/text.h"

namespace lora::app {

namespace {

using data::RowFormat;

constexpr size_t kNamed = 2;  // tokens named in a warning

bool has_rows(const data::DataOptions& options, RowFormat format) {
  const auto is_it = [format](const data::SourceOptions& source) { return source.format == format; };
  return std::any_of(options.train.begin(), options.train.end(), is_it) || std::any_of(options.eval.begin(), options.eval.end(), is_it);
}

tokenizer::ChatTemplateChoice choice_of(const config::RunConfig& config) {
  tokenizer::ChatTemplateChoice choice{config.data.chat_template.value_or("")};
  if (config.adapter && config.adapter->init_from) {
    choice.adapter = *config.adapter->init_from;
  }
  return choice;
}

}  // namespace

void RunPrompts::save(const std::filesystem::path& folder) const {
  const bool is_there = chat_template != nullptr && tokenizer::read_template_texts(folder) == chat_template->texts();
  if (chat_template != nullptr && !is_there) {
    tokenizer::write_template_texts(folder, chat_template->texts());
  }
}

RunPrompts load_run_prompts(const config::RunConfig& config, const tokenizer::Tokenizer& tokenizer) {
  RunPrompts prompts;
  const bool has_messages = has_rows(config.data, RowFormat::kMessages);
  const bool has_instructions = has_rows(config.data, RowFormat::kInstruction);
  if (!has_messages && !has_instructions) {
    return prompts;
  }
  const tokenizer::ChatTemplateChoice choice = choice_of(config);
  const auto own = tokenizer::load_chat_template({""}, config.model.tokenizer, tokenizer);
  prompts.writes_instructions = has_instructions && choice.is_given();
  if (has_messages || prompts.writes_instructions) {
    prompts.chat_template = tokenizer::load_chat_template(choice, config.model.tokenizer, tokenizer);
  }
  if (prompts.chat_template != nullptr) {
    prompts.is_models_own = own != nullptr && own->identity() == prompts.chat_template->identity();
    prompts.summary.push_back("template     " + prompts.chat_template->name() + ", saved with the result as chat_template.jinja");
  }
  if (has_instructions && !prompts.writes_instructions) {
    std::string line = "prompt       instruction rows are put into Alpaca's prompt";
    if (own != nullptr) {
      line +=
          "; the model has a chat template of its own, which data.chat_template \"model\" would use (talk to the result by "
          "--chat-template none)";
    }
    prompts.summary.push_back(std::move(line));
  }
  return prompts;
}

void require_one_template(const std::vector<config::RunConfig>& runs) {
  const data::DataOptions& options = runs.front().data;
  if (options.chat_template || (!has_rows(options, RowFormat::kMessages) && !has_rows(options, RowFormat::kInstruction))) {
    return;
  }
  const auto texts_of = [](const config::RunConfig& run) {
    return run.adapter && run.adapter->init_from ? tokenizer::read_template_texts(*run.adapter->init_from) : std::nullopt;
  };
  for (const config::RunConfig& run : runs) {
    if (texts_of(run) != texts_of(runs.front())) {
      config_error("adapter", "the rows are read once for all adapters, and " + run.adapter_name +
                                  " starts from another chat template than " + runs.front().adapter_name +
                                  ": expected data.chat_template to name one");
    }
  }
}

void warn_of_unknown_tokens(const RunPrompts& prompts, const config::RunConfig& config, const tokenizer::Tokenizer& tokenizer,
                            nn::Model& model) {
  if (prompts.chat_template == nullptr || config.model.from_scratch) {
    return;
  }
  const ControlTokens tokens = control_tokens(*prompts.chat_template, tokenizer);
  const std::string where = "[data.chat_template] ";
  if (!prompts.is_models_own && !tokens.ends_turns && !tokens.missing.empty()) {
    log::warn(where + "the tokenizer has no such tokens: " + join(tokens.missing, ", ", kNamed) + " of " + prompts.chat_template->name() +
              " are read as plain text, in several pieces each. Use a template whose tokens the "
              "model has, or one that ends turns by its EOS token (zephyr, alpaca, vicuna)");
  }
  if (!config.adapter) {
    return;
  }
  const std::vector<int32_t> untrained = untrained_tokens(tokens.ids, tokenizer, model);
  if (!untrained.empty()) {
    std::vector<std::string> names;
    for (const int32_t id : untrained) {
      names.push_back(printable(tokenizer.token(id)) + " (" + std::to_string(id) + ")");
    }
    log::warn(
        where + "the model was never trained on " + join(names, ", ", kNamed) +
        ": their embeddings are those of unused tokens, so that it may not learn to end its turns. Add \"trainable_token_indices\": " +
        Json(untrained).dump() + " to the adapter");
  }
}

}  // namespace lora::app
