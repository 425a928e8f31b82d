#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "inference.h"
#include "lora/app/generate_command.h"
#include "lora/data/chat.h"
#include "lora/data/text_ids.h"
#include "lora/generate/generator.h"

namespace lora::app {

/// A model that is ready to complete prompts.
class Generation {
 public:
  /// Loads everything. The options are checked first: a wrong flag must not cost the loading of a model.
  explicit Generation(const GenerateRequest& request);

  nn::Model& model() const { return *parts_.base.model; }
  const generate::GenerationOptions& options() const { return options_; }
  /// Throws model Error with the reason where there is none that can be used.
  const tokenizer::Tokenizer& tokenizer();
  /// How prompts become ids. Throws likewise.
  data::TextRule text_rule() { return {tokenizer(), parse_special_tokens_}; }
  /// Null where there is none that can be used.
  const tokenizer::Tokenizer* tokenizer_if_any() const { return tokenizer_.get(); }
  /// By the template that the flags name, else the adapter's, else the model's own; null where there is none. "": the bare model.
  const data::ChatEncoder* chat_encoder(const std::string& adapter);
  /// The same. Throws config Error where there is none.
  const data::ChatEncoder& needed_chat_encoder(const std::string& adapter);
  /// What instruction rows are written by for an adapter: the template that the flags name or that the adapter brings, as in training and
  /// lora-eval; null: the prompt of Alpaca. Says once which it is.
  const data::ChatEncoder* instruction_encoder(const std::string& adapter);
  /// The tokens by which that template ends the assistant's turns: they end an answer, beside the model's EOS tokens.
  std::vector<int32_t> turn_ends(const std::string& adapter);
  bool has_adapter(const std::string& name) const;
  std::vector<std::string> adapter_names() const;
  /// The adapter of prompts that name none: the first one given, "" where there is none.
  std::string default_adapter() const;

  /// Warns, once, if so many tokens are more than the model was trained for.
  void warn_of_length(int64_t tokens);
  /// Completes prompts together with an adapter of that name ("": none). `extra_stop`: beside the options' stop strings.
  /// @param on_text gets each prompt's text in pieces, where there is a tokenizer.
  /// @param on_finish gets its tokens.
  void complete(const std::vector<generate::Prompt>& prompts, const std::string& adapter, const std::vector<std::string>& extra_stop,
                const std::function<void(size_t prompt, const std::string& piece)>& on_text,
                const std::function<void(size_t prompt, const generate::Completion&)>& on_finish);

 private:
  /// How one adapter talks; null pointers: it has no template.
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
