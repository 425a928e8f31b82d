#pragma once
#include <string>
#include <vector>

#include "data/fields.h"
#include "lora/data/dataset.h"

namespace lora::data {

/// What the formats need beside the row.
struct FormatContext {
  const tokenizer::Tokenizer* tokenizer = nullptr;  ///< null only for formats without text
  int64_t vocab_size = 0;
  TrainOn train_on = TrainOn::kCompletion;
  bool append_eos = true;
};

/// One way to make a document of a row.
struct Format {
  RowFormat format;
  std::vector<std::string> required;  ///< fields
  std::vector<std::string> optional;  ///< fields that a row may lack
  bool needs_tokenizer;
  Example (*encode)(const Fields& fields, const FormatContext& context);
};

const Format& format_of(RowFormat format);

}  // namespace lora::data
