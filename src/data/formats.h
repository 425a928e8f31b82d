#pragma once
#include <string>
#include <vector>

#include "data/fields.h"
#include "lora/data/chat.h"
#include "lora/data/options.h"
#include "lora/tokenizer/tokenizer.h"

namespace lora::data {

/// What the formats need beside the row.
struct FormatContext {
  const tokenizer::Tokenizer* tokenizer = nullptr;  ///< null only for formats without text
  int64_t vocab_size = 0;
  TrainOn train_on = TrainOn::kCompletion;
  bool append_eos = true;
  const ChatEncoder* chat = nullptr;  ///< null only where no rows are messages
};

/// What a row becomes: ids, and labels of the same length (not shifted, nn::kIgnoreLabel where not supervised).
struct Document {
  std::vector<int32_t> ids;
  std::vector<int32_t> labels;
};

/// One way to make a document of a row.
struct Format {
  RowFormat format;
  std::vector<std::string> required;  ///< fields
  std::vector<std::string> optional;  ///< fields that a row may lack
  bool needs_tokenizer;
  /// Called by several threads at once.
  Document (*encode)(const Fields& fields, const FormatContext& context);
};

const Format& format_of(RowFormat format);

}  // namespace lora::data
