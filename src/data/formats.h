#pragma once
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "data/fields.h"
#include "lora/data/chat.h"
#include "lora/data/example.h"
#include "lora/data/labels.h"
#include "lora/data/options.h"
#include "lora/data/text_ids.h"
#include "lora/tokenizer/tokenizer.h"

namespace lora::data {

/// What encoding a row needs besides the row.
struct FormatContext {
  const tokenizer::Tokenizer* tokenizer = nullptr;  ///< null only for formats without text
  int64_t vocab_size = 0;
  TrainOn train_on = TrainOn::kCompletion;
  bool append_eos = true;
  bool parse_special_tokens = true;
  const ChatEncoder* chat = nullptr;  ///< null if no chat template writes the rows
  int64_t max_length = 0;             ///< texts to classify are truncated to it, including special tokens; 0: not truncated
  bool needs_label = true;            ///< a row of a classification must have a label

  TextRule text_rule() const { return {*tokenizer, parse_special_tokens}; }
};

/// A document of a row: ids, and labels of the same length (not shifted, nn::kIgnoreLabel where not supervised).
struct EncodedDocument {
  std::vector<int32_t> ids;
  std::vector<int32_t> labels;
};

/// Documents that stay together as one example. Each is truncated to max_length; none is split.
struct EncodedGroup {
  std::vector<EncodedDocument> documents;  ///< at least one
};

/// A text or a pair of texts that has one label as a whole.
struct EncodedText {
  std::vector<int32_t> ids;
  int32_t second_text = 0;  ///< where the second of two texts begins; 0: there is only one
  bool cut = false;         ///< truncated to max_length
};

/// An encoded row, before max_length is applied to its content.
struct EncodedContent {
  std::variant<std::vector<EncodedDocument>, EncodedText, FeatureRow, EncodedGroup, ImageRow> content;  ///< at least one document
  RowLabel label = {};           ///< of the whole row
  bool is_message_pair = false;  ///< prompt and completion are messages
};

/// The content of a row that is one document.
inline EncodedContent one_document(EncodedDocument document) {
  EncodedContent row;
  std::get<std::vector<EncodedDocument>>(row.content).push_back(std::move(document));
  return row;
}

/// How rows of one format are encoded.
struct Format {
  RowFormat format;
  std::vector<std::string> required;  ///< fields
  std::vector<std::string> optional;  ///< fields
  std::vector<std::string> refused;   ///< fields that other tools use and we do not support
  /// Thread-safe. Null for rows of images, which load_images reads.
  EncodedContent (*encode)(const Fields& fields, const FormatContext& context);
};

/// All formats. Where a row has the fields of several, the first counts: messages and texts come before ids, which such rows may have too.
const std::vector<Format>& formats();

const Format& format_of(RowFormat format);

/// The row's columns that its format does not use. Throws data Error for a column that other tools use and we do not support.
std::vector<std::string> unused_columns(const Fields& fields, const Format& format);

/// A row of token ids: {"input_ids", optional "labels", and masks and positions}.
EncodedContent encode_tokens(const Fields& fields, const FormatContext& context);

/// Whether a row of messages is excluded from the loss as a whole ("weight": 0). Throws data Error for fractional weights.
bool is_left_out(const Fields& fields);

/// A row of "messages".
EncodedContent encode_messages(const Fields& fields, const FormatContext& context);

/// An instruction row that a chat template writes.
EncodedContent encode_instruction_chat(const Fields& fields, const FormatContext& context);

/// A prompt_completion row whose prompt and completion are messages; ids and labels are those of TRL's SFTTrainer.
EncodedContent encode_message_pair(const Fields& fields, const FormatContext& context);

/// A row of features: {"features": numbers in lists of any depth, "target": a class, a value or a list of values}.
EncodedContent encode_features(const Fields& fields, const FormatContext& context);

/// A row of a classification: {"text", optional "text_pair"} or {"input_ids", optional "token_type_ids"}, and "label".
EncodedContent encode_classification(const Fields& fields, const FormatContext& context);

}  // namespace lora::data
