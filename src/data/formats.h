#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/fields.h"
#include "lora/data/chat.h"
#include "lora/data/example.h"
#include "lora/data/labels.h"
#include "lora/data/options.h"
#include "lora/data/text_ids.h"
#include "lora/tokenizer/tokenizer.h"

namespace lora::data {

/// What the formats need beside the row.
struct FormatContext {
  const tokenizer::Tokenizer* tokenizer = nullptr;  ///< null only for formats without text
  int64_t vocab_size = 0;
  TrainOn train_on = TrainOn::kCompletion;
  bool append_eos = true;
  bool parse_special_tokens = true;
  const ChatEncoder* chat = nullptr;  ///< null where no chat template writes the rows
  int64_t max_length = 0;             ///< what a text is cut to before special tokens are placed around it; 0: it is not cut
  bool needs_label = true;            ///< a row of a classification must have its label

  TextRule text_rule() const { return {*tokenizer, parse_special_tokens}; }
};

/// What a row becomes: ids, and labels of the same length (not shifted, nn::kIgnoreLabel where not supervised); or a label as a whole.
struct Document {
  std::vector<int32_t> ids;
  std::vector<int32_t> labels;
  RowLabel label = {};
  int32_t second_text = 0;  ///< where the second of two texts begins; 0: there is one
  std::shared_ptr<const DenseRow> dense = nullptr;
  bool cut = false;                 ///< to max_length
  std::vector<Document> more = {};  ///< further documents of a row that holds several
  bool is_message_pair = false;     ///< of a prompt and a completion that are messages
};

/// One way to make a document of a row.
struct Format {
  RowFormat format;
  std::vector<std::string> required;  ///< fields
  std::vector<std::string> optional;  ///< fields that a row may lack
  std::vector<std::string> refused;   ///< fields that other tools act on and we cannot
  bool needs_tokenizer;               ///< whatever the row
  /// Called by several threads at once.
  Document (*encode)(const Fields& fields, const FormatContext& context);
};

const Format& format_of(RowFormat format);

/// The row's columns that its format does not use. Throws data Error for one that other tools act on and we cannot.
std::vector<std::string> unused_columns(const Fields& fields, const Format& format);

/// A row of token ids: {"input_ids", optional "labels" and the columns that say what else these are}.
Document encode_tokens(const Fields& fields, const FormatContext& context);

/// A row of "messages".
Document encode_messages(const Fields& fields, const FormatContext& context);

/// An instruction row, written by a chat template.
Document encode_instruction_chat(const Fields& fields, const FormatContext& context);

/// A prompt_completion row whose prompt and completion are messages: ids and labels are those of TRL's SFTTrainer.
Document encode_message_pair(const Fields& fields, const FormatContext& context);

/// A row of features: {"features": numbers in lists of any depth, "target": a class, a value or a list of values}.
Document encode_features(const Fields& fields, const FormatContext& context);

/// The row of a classification: {"text", optional "text_pair"} or {"input_ids", optional "token_type_ids"}, and "label".
Document encode_classification(const Fields& fields, const FormatContext& context);

}  // namespace lora::data
