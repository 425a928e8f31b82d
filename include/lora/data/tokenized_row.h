#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lora/data/chat.h"
#include "lora/data/rows.h"

namespace lora::data {

/// A row as training reads it, without what a run's options do to it (max_length).
struct TokenizedRow {
  std::optional<std::string> text;  ///< of messages: as the template writes them
  std::vector<int32_t> ids;
  std::vector<bool> mask;        ///< which of the ids are learnt
  std::vector<int64_t> lengths;  ///< of the documents in it, one at least
  bool has_mask = true;          ///< false for a text, all of which is learnt
};

/// Makes ids of rows of any format that has some; each row's fields show which it is.
class RowTokenizer {
 public:
  /// `chat` is asked at the first messages; where it `writes_instructions`, for instruction rows too, which else are Alpaca's prompts. The
  /// tokenizer must live longer.
  RowTokenizer(const tokenizer::Tokenizer& tokenizer, std::function<const ChatEncoder&()> chat, TrainOn train_on, bool parse_special_tokens,
               bool writes_instructions);

  /// `as_prompt`: messages up to where the assistant's answer begins. Throws data Error for a row of no known fields.
  TokenizedRow tokenize(const Row& row, bool as_prompt) const;

 private:
  const tokenizer::Tokenizer& tokenizer_;
  std::function<const ChatEncoder&()> chat_;
  TrainOn train_on_;
  bool parse_special_tokens_;
  bool writes_instructions_;
};

}  // namespace lora::data
