#pragma once
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lora/data/options.h"
#include "lora/tokenizer/chat_template.h"

namespace lora::data {

/// A conversation as ids, equal to those of transformers' apply_chat_template, with the loss mask.
struct EncodedChat {
  std::string text;
  std::vector<int32_t> ids;
  std::vector<bool> mask;  ///< for each id, whether it is supervised
};

/// Converts conversations to ids and loss masks. Thread-safe.
class ChatEncoder {
 public:
  /// Both must outlive this.
  ChatEncoder(const tokenizer::ChatTemplate& chat_template, const tokenizer::Tokenizer& tokenizer)
      : template_(chat_template), tokenizer_(tokenizer) {}

  /// The assistant's turns are those that the template marks with {% generation %}; without marks they are found by rendering the
  /// messages before each of them. Throws data Error naming `where` for a conversation that the template rejects, and model Error for
  /// a template that breaks a rule: two BOS tokens, a turn whose beginning or end cannot be found, an end-of-turn token that is
  /// not supervised.
  /// `excluded`: for each message, whether it is excluded from the loss; may be shorter if no later message is.
  EncodedChat encode(const tokenizer::Conversation& conversation, TrainOn train_on, const std::string& where,
                     const std::vector<bool>& excluded = {}) const;
  /// A conversation with the generation prompt; nothing is supervised.
  EncodedChat prompt(const tokenizer::Conversation& conversation, const std::string& where) const;

  /// The special token that ends the assistant's turns; nothing if the template ends them with text or rejects the trial conversation.
  std::optional<int32_t> turn_end() const;

  const tokenizer::Tokenizer& tokenizer() const { return tokenizer_; }
  const tokenizer::ChatTemplate& chat_template() const { return template_; }

 private:
  EncodedChat tokens_of(std::string text, std::vector<tokenizer::TextSpan>* spans, const std::string& where) const;
  void learn_turn_ends(EncodedChat& chat) const;
  void require_turn_ends(const EncodedChat& chat, const std::string& where) const;
  void warn_of_forged(const tokenizer::Conversation& conversation, const std::string& where) const;
  void warn_of_odd(const tokenizer::Conversation& conversation, const std::string& text, const std::string& where) const;
  bool ends_turn(int32_t id) const;

  const tokenizer::ChatTemplate& template_;
  const tokenizer::Tokenizer& tokenizer_;
  mutable std::atomic<bool> warned_of_bos_ = false;
  mutable std::atomic<bool> warned_of_forged_ = false;
  mutable std::atomic<bool> warned_of_odd_ = false;
};

}  // namespace lora::data
