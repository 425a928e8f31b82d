#include "data/row_encoder.h"

#include <algorithm>

#include "lora/base/error.h"
#include "lora/base/text.h"

namespace lora::data {

namespace {

/// The encoder of rows that a chat template writes; null if none does.
std::unique_ptr<ChatEncoder> chat_encoder_of(RowFormat format, const LoadContext& context) {
  const bool can_hold_messages = format == RowFormat::kMessages || format == RowFormat::kPromptCompletion;
  const tokenizer::ChatTemplate* chat_template = can_hold_messages                   ? context.chat_template
                                                 : format == RowFormat::kInstruction ? context.instruction_template
                                                                                     : nullptr;
  return chat_template == nullptr ? nullptr : std::make_unique<ChatEncoder>(*chat_template, *context.tokenizer);
}

}  // namespace

RowEncoder::RowEncoder(const SourceOptions& source, const DataOptions& options, const LoadContext& context, std::set<std::string> watched)
    : source_(source),
      options_(options),
      context_(context),
      format_(format_of(source.format)),
      chat_(chat_encoder_of(source.format, context)),
      format_context_{context.tokenizer,
                      context.num_ids(),
                      options.train_on,
                      options.append_eos,
                      options.parse_special_tokens,
                      chat_.get(),
                      options.overlength == Overlength::kTruncate ? options.max_length : 0,
                      !context.keep_unsupervised},
      watched_(std::move(watched)) {}

EncodedRow RowEncoder::encode(const PendingRow& pending) const {
  const Row row = pending.parse();
  EncodedRow encoded;
  encoded.line = row.line;
  for (const std::string& column : watched_) {
    if (row.object.contains(column)) {
      encoded.watched_columns.push_back(column);
    }
  }
  const Fields fields(row, source_);
  encoded.unused_columns = unused_columns(fields, format_);
  EncodedDocument document = format_.encode(fields, format_context_);
  if (context_.tokenizer != nullptr) {
    require_valid_ids(document.ids, row.origin);
  }
  encoded.label = std::move(document.label);
  encoded.is_message_pair = document.is_message_pair;
  std::vector<EncodedDocument> more = std::move(document.more);
  fit(std::move(document), row.origin, encoded);
  for (EncodedDocument& further : more) {
    fit(std::move(further), row.origin, encoded);
  }
  encoded.skipped = encoded.skipped && encoded.examples.empty();
  return encoded;
}

void RowEncoder::require_valid_ids(const std::vector<int32_t>& ids, const std::string& origin) const {
  const auto largest = std::max_element(ids.begin(), ids.end());
  if (largest != ids.end() && *largest >= context_.num_ids()) {
    data_error(origin, "the tokenizer does not fit the model: found the id " + std::to_string(*largest) + " (" +
                           printable(context_.tokenizer->token(*largest)) + "), expected ids from 0 to " +
                           std::to_string(context_.num_ids() - 1) + ". Likely cause: the tokenizer of another model.");
  }
}

void RowEncoder::fit(EncodedDocument document, const std::string& origin, EncodedRow& row) const {
  const auto size = static_cast<int64_t>(document.ids.size());
  const int64_t max_length = options_.max_length;
  const bool overlong = size > max_length || document.cut;
  row.overlong = row.overlong || overlong;
  if (overlong && options_.overlength == Overlength::kError) {
    data_error(origin, "the document is too long: found " + with_thousands(size) + " tokens, expected at most data.max_length = " +
                           with_thousands(max_length) + ". Increase it, or set data.overlength to truncate, drop or split.");
  }
  if (overlong && options_.overlength == Overlength::kDrop) {
    return;
  }
  if (overlong && options_.overlength == Overlength::kSplit) {
    const bool kept = split(document, row);
    row.skipped = row.skipped || !kept;
    return;
  }
  document.ids.resize(std::min(size, max_length));
  document.labels.resize(document.ids.size());
  const bool kept = keep(document.ids, document.labels, document, row);
  row.skipped = row.skipped || !kept;
}

// A part without a supervised token is dropped; the row counts as skipped if all parts are dropped. If the document begins with BOS, each
// part does: a model that was always trained with BOS computes poor results without it.
bool RowEncoder::split(const EncodedDocument& document, EncodedRow& row) const {
  const auto size = static_cast<int64_t>(document.ids.size());
  const auto bos = context_.tokenizer != nullptr ? context_.tokenizer->bos_id() : std::nullopt;
  const bool repeats_bos = bos && document.ids.front() == *bos;
  bool kept = false;
  for (int64_t begin = 0, end = 0; begin < size; begin = end) {
    const bool adds_bos = repeats_bos && begin > 0;
    end = std::min(size, begin + options_.max_length - (adds_bos ? 1 : 0));
    std::vector<int32_t> ids(document.ids.begin() + begin, document.ids.begin() + end);
    std::vector<int32_t> labels(document.labels.begin() + begin, document.labels.begin() + end);
    if (adds_bos) {
      ids.insert(ids.begin(), document.ids.front());
      labels.insert(labels.begin(), document.labels.front());
    }
    kept = keep(ids, labels, document, row) || kept;
  }
  return kept;
}

bool RowEncoder::keep(const std::vector<int32_t>& ids, const std::vector<int32_t>& labels, const EncodedDocument& document,
                      EncodedRow& row) const {
  Example example(ids, labels);
  example.second_text = document.second_text < static_cast<int32_t>(ids.size()) ? document.second_text : 0;
  example.dense = document.dense;
  if (example.num_supervised() == 0 && row.label.kind == LabelKind::kNone && !context_.keep_unsupervised) {
    return false;
  }
  example.continues_row = !row.examples.empty();
  row.examples.push_back(std::move(example));
  return true;
}

}  // namespace lora::data
