#include "app/run_prompts.h"

#include <algorithm>

#include "app/control_tokens.h"
#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/text.h"

namespace lora::app {

namespace {

using data::ChatUse;

constexpr size_t kNamed = 2;  // tokens listed in a warning

/// Whether there are rows that a chat template writes in this way.
bool has_rows(const data::DataOptions& options, ChatUse use) {
  const auto is_it = [use](const data::SourceOptions& source) { return data::facts_of(source.format).chat == use; };
  return std::any_of(options.train.begin(), options.train.end(), is_it) || std::any_of(options.eval.begin(), options.eval.end(), is_it);
}

tokenizer::ChatTemplateChoice choice_of(const config::RunConfig& config) {
  tokenizer::ChatTemplateChoice choice{config.data.chat_template.value_or("")};
  if (config.adapter && config.adapter->init_from) {
    choice.adapter = *config.adapter->init_from;
  }
  return choice;
}

std::string alpaca_line(bool has_own_template) {
  const std::string line = "prompt       instruction rows use the Alpaca prompt";
  return has_own_template ? line +
                                "; the model has its own chat template, which data.chat_template \"model\" would use (for --chat with the "
                                "result, use --chat-template none)"
                          : line;
}

}  // namespace

void RunPrompts::save(const std::filesystem::path& folder) const {
  const bool is_there = chat_template != nullptr && tokenizer::read_template_texts(folder) == chat_template->texts();
  if (chat_template != nullptr && !is_there) {
    tokenizer::write_template_texts(folder, chat_template->texts());
  }
}

void RunPrompts::settle(const data::DataOptions& options, int64_t message_pairs) {
  if (is_for_pairs && message_pairs == 0) {
    if (options.chat_template) {
      config_error("data.chat_template", "is not used by the rows of this run: prompt and completion are texts in every "
                                         "prompt_completion row. Remove it.");
    }
    chat_template.reset();
  }
  if (chat_template != nullptr) {
    summary.insert(summary.begin(), "template     " + chat_template->name() + ", saved with the result as chat_template.jinja");
  }
}

RunPrompts load_run_prompts(const config::RunConfig& config, const tokenizer::Tokenizer& tokenizer) {
  RunPrompts prompts;
  const bool has_messages = has_rows(config.data, ChatUse::kMessages);
  const bool has_instructions = has_rows(config.data, ChatUse::kOptional);
  const bool may_have_pairs = has_rows(config.data, ChatUse::kPairs);
  if (!has_messages && !has_instructions && !may_have_pairs) {
    return prompts;
  }
  const tokenizer::ChatTemplateChoice choice = choice_of(config);
  prompts.writes_instructions = has_instructions && choice.is_given();
  prompts.is_for_pairs = may_have_pairs && !has_messages && !prompts.writes_instructions;
  const auto load = [&](const tokenizer::ChatTemplateChoice& which) {
    return has_messages || has_instructions ? tokenizer::load_chat_template(which, config.model.tokenizer, tokenizer)
                                            : load_pair_template(which, config.model.tokenizer, tokenizer);
  };
  const auto own = load({""});
  if (has_messages || prompts.writes_instructions || may_have_pairs) {
    prompts.chat_template = load(choice);
  }
  if (prompts.chat_template != nullptr) {
    prompts.is_models_own = own != nullptr && own->identity() == prompts.chat_template->identity();
  }
  if (has_instructions && !prompts.writes_instructions) {
    prompts.summary.push_back(alpaca_line(own != nullptr));
  }
  return prompts;
}

std::unique_ptr<tokenizer::ChatTemplate> load_pair_template(const tokenizer::ChatTemplateChoice& choice,
                                                            const std::filesystem::path& tokenizer_path,
                                                            const tokenizer::Tokenizer& tokenizer) {
  try {
    return tokenizer::load_chat_template(choice, tokenizer_path, tokenizer);
  } catch (const Error& error) {
    if (!choice.name.empty()) {
      throw;
    }
    log::warn(std::string(error.what()) + " (used only by rows whose prompt and completion are messages)");
    return nullptr;
  }
}

void require_one_template(const std::vector<config::RunConfig>& runs, bool has_pairs) {
  const data::DataOptions& options = runs.front().data;
  const bool has_chats = has_pairs || has_rows(options, ChatUse::kMessages) || has_rows(options, ChatUse::kOptional);
  if (options.chat_template || !has_chats) {
    return;
  }
  const auto texts_of = [](const config::RunConfig& run) {
    return run.adapter && run.adapter->init_from ? tokenizer::read_template_texts(*run.adapter->init_from) : std::nullopt;
  };
  for (const config::RunConfig& run : runs) {
    if (texts_of(run) != texts_of(runs.front())) {
      config_error("adapter", "the rows are read once for all adapters, but " + run.name +
                                  " starts from another chat template than " + runs.front().name +
                                  ". Set data.chat_template to the one to use.");
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
    log::warn(where + "the tokenizer lacks control tokens of " + prompts.chat_template->name() + ": " +
              join(tokens.missing, ", ", kNamed) +
              " become plain text, of several tokens each. Use a template whose tokens the model has, or one that ends turns with its EOS "
              "token (zephyr, alpaca, vicuna).");
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
        ": their embeddings look like those of unused tokens, so that the model may not learn to end its turns. Add "
        "\"trainable_token_indices\": " +
        Json(untrained).dump() + " to the adapter.");
  }
}

}  // namespace lora::app
