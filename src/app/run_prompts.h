#pragma once
#include <memory>
#include <string>
#include <vector>

#include "lora/config/run_config.h"
#include "lora/nn/model.h"
#include "lora/tokenizer/chat_template.h"

namespace lora::app {

/// How the rows of a run are put into prompts, and the chat template that goes with the result.
struct RunPrompts {
  std::unique_ptr<tokenizer::ChatTemplate> chat_template;  ///< null: no row is written by one
  bool writes_instructions = false;                        ///< instruction rows too; else they are Alpaca's prompts
  bool is_models_own = false;                              ///< the template is the model's own
  std::vector<std::string> summary;                        ///< what is said of it before the first step

  /// What instruction rows are written by; null: Alpaca's prompt.
  const tokenizer::ChatTemplate* instruction_template() const { return writes_instructions ? chat_template.get() : nullptr; }
  /// Writes the template into the result's folder: an adapter's, or a model's with its own tokenizer files already in it.
  void save(const std::filesystem::path& folder) const;
};

/// The templates that the run's rows need: by data.chat_template, else of the adapter in init_from, else the model's own.
RunPrompts load_run_prompts(const config::RunConfig& config, const tokenizer::Tokenizer& tokenizer);

/// Runs over one set of rows read it by one template. Throws config Error where adapters to start from have others, and none is named.
void require_one_template(const std::vector<config::RunConfig>& runs);

/// Warns of a template whose control tokens the model cannot know: the tokenizer has none of that text, or their embeddings were never
/// trained and are not trained now.
void warn_of_unknown_tokens(const RunPrompts& prompts, const config::RunConfig& config, const tokenizer::Tokenizer& tokenizer,
                            nn::Model& model);

}  // namespace lora::app
