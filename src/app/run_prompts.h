#pragma once
#include <memory>
#include <string>
#include <vector>

#include "lora/config/run_config.h"
#include "lora/nn/model.h"
#include "lora/tokenizer/chat_template.h"

namespace lora::app {

/// How prompts are built from the rows of a run, and the chat template that is saved with the result.
struct RunPrompts {
  std::unique_ptr<tokenizer::ChatTemplate> chat_template;  ///< null: no rows use one
  bool is_for_pairs = false;                               ///< the template is only for prompt_completion rows, which may be texts
  bool writes_instructions = false;                        ///< the template writes instruction rows, which otherwise use the Alpaca prompt
  bool is_models_own = false;                              ///< the template is the model's own
  std::vector<std::string> summary;                        ///< lines for the summary of the run

  /// Drops a template that is only for prompt_completion rows if `message_pairs`, the number of such rows with messages, is 0, and adds
  /// the template to the summary. Throws config Error if the config names a template that no row needs.
  void settle(const data::DataOptions& options, int64_t message_pairs);
  bool serves_pairs() const { return is_for_pairs && chat_template != nullptr; }
  /// The template for instruction rows; null: the Alpaca prompt.
  const tokenizer::ChatTemplate* instruction_template() const { return writes_instructions ? chat_template.get() : nullptr; }
  /// Writes the template to the folder of the result: an adapter, or a model whose tokenizer files are already there.
  void save(const std::filesystem::path& folder) const;
};

/// Loads the template that the run's rows need: by data.chat_template, otherwise that of the adapter in init_from, otherwise the
/// model's own.
RunPrompts load_run_prompts(const config::RunConfig& config, const tokenizer::Tokenizer& tokenizer);

/// Several runs over one set of rows need the same template. Throws config Error if the adapters in init_from have different ones and
/// data.chat_template names none. `has_pairs`: prompt_completion rows have messages, which is known only after reading them.
void require_one_template(const std::vector<config::RunConfig>& runs, bool has_pairs = false);

/// Loads the template for prompt_completion rows, which are mostly texts: a damaged one is an error only if it is named; otherwise there is
/// a warning, and the result is null.
std::unique_ptr<tokenizer::ChatTemplate> load_pair_template(const tokenizer::ChatTemplateChoice& choice,
                                                            const std::filesystem::path& tokenizer_path,
                                                            const tokenizer::Tokenizer& tokenizer);

/// Warns of a template whose control tokens the model cannot know: the tokenizer lacks them, or their embeddings were never trained and
/// are not trained in this run.
void warn_of_unknown_tokens(const RunPrompts& prompts, const config::RunConfig& config, const tokenizer::Tokenizer& tokenizer,
                            nn::Model& model);

}  // namespace lora::app
