#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lora/data/chat.h"
#include "lora/data/rows.h"

namespace lora::data {

/// A row as training reads it, before the run's options (max_length) are applied.
struct TokenizedRow {
  std::optional<std::string> text;  ///< of messages, as rendered by the template
  std::vector<int32_t> ids;
  std::vector<bool> mask;        ///< for each id, whether it is supervised
  std::vector<int64_t> lengths;  ///< of the documents in the row, at least one
  bool has_mask = true;          ///< false for a text, which is supervised as a whole
};

/// Tokenizes rows of any format that has tokens. The fields of each row determine its format.
class RowTokenizer {
 public:
  /// `chat` is called when a row has messages and, with `writes_instructions`, for instruction rows, which otherwise become Alpaca
  /// prompts. The tokenizer must outlive this.
  RowTokenizer(const tokenizer::Tokenizer& tokenizer, std::function<const ChatEncoder&()> chat, TrainOn train_on, bool parse_special_tokens,
               bool writes_instructions);

  /// `as_prompt`: messages end with the generation prompt. Throws data Error for a row without the fields of any format.
  TokenizedRow tokenize(const Row& row, bool as_prompt) const;

 private:
  const tokenizer::Tokenizer& tokenizer_;
  std::function<const ChatEncoder&()> chat_;
  TrainOn train_on_;
  bool parse_special_tokens_;
  bool writes_instructions_;
};

}  // namespace lora::data
