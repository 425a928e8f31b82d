#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "app/inference.h"
#include "lora/app/generate_command.h"
#include "lora/data/chat.h"
#include "lora/data/text_ids.h"
#include "lora/generate/generator.h"

namespace lora::app {

/// A model that is ready to complete prompts.
class Generation {
 public:
  /// Loads everything. Checks the options first, so that a wrong flag is reported before a model is loaded.
  explicit Generation(const GenerateRequest& request);

  nn::Model& model() const { return *parts_.base.model; }
  const generate::GenerationOptions& options() const { return options_; }
  /// Throws model Error with the reason if no tokenizer can be used.
  const tokenizer::Tokenizer& tokenizer();
  /// How prompts become ids. Throws as tokenizer() does.
  data::TextRule text_rule() { return {tokenizer(), parse_special_tokens_}; }
  /// Null if no tokenizer can be used.
  const tokenizer::Tokenizer* tokenizer_if_any() const { return tokenizer_.get(); }
  /// Encodes with the template that the flags name, else the adapter's, else the model's; null if there is none. "": the base model.
  const data::ChatEncoder* chat_encoder(const std::string& adapter);
  /// As chat_encoder(), but throws config Error if there is none.
  const data::ChatEncoder& needed_chat_encoder(const std::string& adapter);
  /// Encodes instruction rows for an adapter with the template that the flags name or the adapter brings, as training and lora-eval do;
  /// null: the Alpaca prompt. Reports the choice once.
  const data::ChatEncoder* instruction_encoder(const std::string& adapter);
  /// The tokens with which that template ends the assistant's turns. They end an answer, as the model's EOS tokens do.
  std::vector<int32_t> turn_ends(const std::string& adapter);
  bool has_adapter(const std::string& name) const;
  std::vector<std::string> adapter_names() const;
  /// The adapter for prompts that name none: the first one given, or "" without adapters.
  std::string default_adapter() const;

  /// Warns, once, if this is more tokens than the model was trained for.
  void warn_of_length(int64_t tokens);
  /// Completes prompts as one batch with the adapter of that name ("": none).
  /// @param extra_stop stop strings in addition to those of the options
  /// @param on_text is called with each piece of a prompt's text, if there is a tokenizer
  /// @param on_finish is called with each prompt's tokens
  void complete(const std::vector<generate::Prompt>& prompts, const std::string& adapter, const std::vector<std::string>& extra_stop,
                const std::function<void(size_t prompt, const std::string& piece)>& on_text,
                const std::function<void(size_t prompt, const generate::Completion&)>& on_finish);

 private:
  /// An adapter's chat template and encoder; null if it has none.
  struct AdapterChat {
    std::unique_ptr<tokenizer::ChatTemplate> chat_template;
    std::unique_ptr<data::ChatEncoder> encoder;
    std::vector<int32_t> turn_ends;
  };
  const AdapterChat& chat_of(const std::string& adapter);

  InferenceParts parts_;
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_;
  std::string template_choice_;
  bool parse_special_tokens_;
  std::map<std::string, AdapterChat> chats_;
  generate::GenerationOptions options_;
  bool warned_of_length_ = false;
  bool reported_instructions_ = false;
};

}  // namespace lora::app
