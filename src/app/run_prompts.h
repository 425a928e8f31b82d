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
  bool is_for_pairs = false;                               ///< the template is there only for prompt_completion rows, which may be texts
  bool writes_instructions = false;                        ///< instruction rows too; else they are Alpaca's prompts
  bool is_models_own = false;                              ///< the template is the model's own
  std::vector<std::string> summary;                        ///< what is said of it before the first step

  /// Says which template writes the rows; one that was loaded for prompt_completion rows is dropped where `message_pairs`, the number of
  /// those with messages, is 0. Throws config Error if the run names one that no row needs.
  void settle(const data::DataOptions& options, int64_t message_pairs);
  bool serves_pairs() const { return is_for_pairs && chat_template != nullptr; }
  /// What instruction rows are written by; null: Alpaca's prompt.
  const tokenizer::ChatTemplate* instruction_template() const { return writes_instructions ? chat_template.get() : nullptr; }
  /// Writes the template into the result's folder: an adapter's, or a model's with its own tokenizer files already in it.
  void save(const std::filesystem::path& folder) const;
};

/// The templates that the run's rows need: by data.chat_template, else of the adapter in init_from, else the model's own.
RunPrompts load_run_prompts(const config::RunConfig& config, const tokenizer::Tokenizer& tokenizer);

/// Runs over one set of rows read it by one template. Throws config Error where adapters to start from have others, and none is named.
/// `has_pairs`: prompt_completion rows have messages, which shows when they have been read.
void require_one_template(const std::vector<config::RunConfig>& runs, bool has_pairs = false);

/// The template for prompt_completion rows, which are mostly texts: one that is damaged is an error only if it is named; otherwise it is
/// warned of, and there is none.
std::unique_ptr<tokenizer::ChatTemplate> load_pair_template(const tokenizer::ChatTemplateChoice& choice,
                                                            const std::filesystem::path& tokenizer_path,
                                                            const tokenizer::Tokenizer& tokenizer);

/// Warns of a template whose control tokens the model cannot know: the tokenizer has none of that text, or their embeddings were never
/// trained and are not trained now.
void warn_of_unknown_tokens(const RunPrompts& prompts, const config::RunConfig& config, const tokenizer::Tokenizer& tokenizer,
                            nn::Model& model);

}  // namespace lora::app
