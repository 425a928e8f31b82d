#pragma once
#include <optional>
#include <string>
#include <vector>

#include "lora/tokenizer/chat_template.h"

namespace lora::data {

/// Finds the assistant's turns in the text of a conversation whose template writes a turn differently once others follow it, as templates
/// of thinking models do. Each message gets a mark in the middle of its content. The marks show the position of each message in the text
/// of the whole conversation, and the text that the template writes between a message and the assistant's answer and after that answer.
/// All of it must occur in the whole text too; otherwise no span is returned.
class MarkedTurns {
 public:
  /// `text`: of the whole conversation. `indices`: the messages to mark. All references must outlive this.
  MarkedTurns(const tokenizer::ChatTemplate& chat_template, const tokenizer::Conversation& conversation, const std::string& text,
              const std::string& where, const std::vector<size_t>& indices);

  /// The span of the assistant's message `index` (not the first), including the end of the turn; nothing if it is not certain.
  std::optional<tokenizer::TextSpan> span(size_t index) const;

 private:
  struct Beginning {
    size_t at;
    std::string prompt;  ///< the generation prompt
  };

  std::string rendered(size_t count, bool add_generation_prompt) const;
  size_t count_of(const std::string& marked, size_t index) const;
  std::optional<size_t> place_of(size_t index, size_t nth) const;
  std::string tail_after(const std::string& marked, size_t index, size_t nth) const;
  std::string without_marks(const std::string& marked) const;
  bool follows(size_t at, const std::string& expected) const;
  bool begins_with_content(size_t index, size_t at) const;
  std::optional<Beginning> beginning(size_t index) const;
  std::optional<size_t> end(size_t index, const std::string& prompt) const;

  const tokenizer::ChatTemplate& template_;
  const std::string& text_;
  const std::string& where_;
  tokenizer::Conversation marked_;
  std::string mark_;                        ///< the beginning of every mark, which does not occur in the text
  std::optional<std::string> marked_text_;  ///< of the whole conversation; nothing if the marks change other text
};

}  // namespace lora::data
