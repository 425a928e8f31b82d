#pragma once
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lora/data/options.h"
#include "lora/tokenizer/chat_template.h"

namespace lora::data {

/// A conversation as ids, equal to transformers' apply_chat_template, and which of them are learnt.
struct EncodedChat {
  std::string text;
  std::vector<int32_t> ids;
  std::vector<bool> mask;  ///< as long as `ids`
};

/// Makes ids and masks of conversations. Any number of threads may use it at once.
class ChatEncoder {
 public:
  /// Both must live longer.
  ChatEncoder(const tokenizer::ChatTemplate& chat_template, const tokenizer::Tokenizer& tokenizer)
      : template_(chat_template), tokenizer_(tokenizer) {}

  /// What the assistant says is marked by the template's {% generation %} where it has that, else found by rendering what comes
  /// before each of its turns. Throws data Error naming `where` for a conversation that the template refuses, and model Error for
  /// a template that breaks a rule: two BOS tokens, a turn whose beginning or end cannot be found, an end-of-turn token that is
  /// not learnt.
  /// `unlearnt`: of each message, whether it is left out of what is learnt; shorter where no further one is.
  EncodedChat encode(const tokenizer::Conversation& conversation, TrainOn train_on, const std::string& where,
                     const std::vector<bool>& unlearnt = {}) const;
  /// A conversation up to where the assistant's answer begins; nothing is learnt.
  EncodedChat prompt(const tokenizer::Conversation& conversation, const std::string& where) const;

  /// The special token that ends the assistant's turns; nothing where the template ends them by text, or cannot be asked.
  std::optional<int32_t> turn_end() const;

  const tokenizer::Tokenizer& tokenizer() const { return tokenizer_; }
  const tokenizer::ChatTemplate& chat_template() const { return template_; }

 private:
  EncodedChat tokens_of(std::string text, std::vector<tokenizer::TextSpan>* spans, const std::string& where) const;
  void learn_turn_ends(EncodedChat& chat) const;
  void check_turn_ends(const EncodedChat& chat, const std::string& where) const;
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
