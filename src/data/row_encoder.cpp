#include "data/row_encoder.h"

#include <algorithm>

#include "lora/base/error.h"
#include "lora/base/text.h"

namespace lora::data {

namespace {

/// The encoder of rows that a chat template writes; null if none does.
std::unique_ptr<ChatEncoder> chat_encoder_of(RowFormat format, const LoadContext& context) {
  const ChatUse use = facts_of(format).chat;
  const tokenizer::ChatTemplate* chat_template = use == ChatUse::kNone       ? nullptr
                                                 : use == ChatUse::kOptional ? context.instruction_template
                                                                             : context.chat_template;
  return chat_template == nullptr ? nullptr : std::make_unique<ChatEncoder>(*chat_template, *context.tokenizer);
}

/// The values of the document's tokens that are in the part.
std::vector<int32_t> tokens_of(const std::vector<int32_t>& values, const DocumentPart& part) {
  std::vector<int32_t> own;
  own.reserve(static_cast<size_t>(part.end - part.begin + (part.repeats_first ? 1 : 0)));
  if (part.repeats_first) {
    own.push_back(values.front());
  }
  own.insert(own.end(), values.begin() + part.begin, values.begin() + part.end);
  return own;
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
  EncodedContent content = format_.encode(fields, format_context_);
  encoded.label = std::move(content.label);
  encoded.is_message_pair = content.is_message_pair;
  add(std::move(content), row.origin, encoded);
  encoded.skipped = encoded.skipped && encoded.examples.empty();
  return encoded;
}

void RowEncoder::add(EncodedContent content, const std::string& origin, EncodedRow& row) const {
  if (auto* const features = std::get_if<FeatureRow>(&content.content)) {
    row.examples.emplace_back(std::move(*features));
    return;
  }
  if (auto* const image = std::get_if<ImageRow>(&content.content)) {
    row.examples.emplace_back(std::move(*image));
    return;
  }
  if (const auto* const text = std::get_if<EncodedText>(&content.content)) {
    const auto make = [text](const DocumentPart& part) {
      LabelledText own{tokens_of(text->ids, part), text->second_text, std::nullopt};
      own.second_text = own.second_text < static_cast<int32_t>(own.ids.size()) ? own.second_text : 0;
      return Example(std::move(own));
    };
    fit(text->ids, text->cut, origin, make, row);
    return;
  }
  if (const auto* const group = std::get_if<EncodedGroup>(&content.content)) {
    add_group(*group, origin, row);
    return;
  }
  for (const EncodedDocument& document : std::get<std::vector<EncodedDocument>>(content.content)) {
    const auto make = [&document](const DocumentPart& part) {
      return Example(tokens_of(document.ids, part), tokens_of(document.labels, part));
    };
    fit(document.ids, /*is_cut=*/false, origin, make, row);
  }
}

/// A group is used only as a whole: it is dropped if one of its documents is, and skipped if there is one without a supervised token.
void RowEncoder::add_group(const EncodedGroup& group, const std::string& origin, EncodedRow& row) const {
  DocumentGroup own;
  bool is_dropped = false, is_supervised = true;
  for (const EncodedDocument& document : group.documents) {
    if (is_overlong(document.ids, /*is_cut=*/false, origin, row)) {
      if (options_.overlength == Overlength::kSplit) {
        data_error(origin, "documents that are compared with each other cannot be split: found " + with_thousands(document.ids.size()) +
                               " tokens, expected at most data.max_length = " + with_thousands(options_.max_length) +
                               ". Increase it, or set data.overlength to truncate, drop or error.");
      }
      is_dropped = is_dropped || options_.overlength == Overlength::kDrop;
    }
    const DocumentPart whole{0, std::min(static_cast<int64_t>(document.ids.size()), options_.max_length)};
    own.documents.emplace_back(tokens_of(document.ids, whole), tokens_of(document.labels, whole));
    is_supervised = is_supervised && own.documents.back().num_supervised() > 0;
  }
  if (!is_dropped) {
    row.skipped = !((is_supervised || context_.keep_unsupervised) && keep(Example(std::move(own)), row)) || row.skipped;
  }
}

void RowEncoder::require_valid_ids(const std::vector<int32_t>& ids, const std::string& origin) const {
  const auto largest = std::max_element(ids.begin(), ids.end());
  if (largest != ids.end() && *largest >= context_.num_ids()) {
    data_error(origin, "the tokenizer does not fit the model: found the id " + std::to_string(*largest) + " (" +
                           printable(context_.tokenizer->token(*largest)) + "), expected ids from 0 to " +
                           std::to_string(context_.num_ids() - 1) + ". Likely cause: the tokenizer of another model.");
  }
}

bool RowEncoder::is_overlong(const std::vector<int32_t>& ids, bool is_cut, const std::string& origin, EncodedRow& row) const {
  if (context_.tokenizer != nullptr) {
    require_valid_ids(ids, origin);
  }
  const auto size = static_cast<int64_t>(ids.size());
  const bool overlong = size > options_.max_length || is_cut;
  row.overlong = row.overlong || overlong;
  if (overlong && options_.overlength == Overlength::kError) {
    data_error(origin, "the document is too long: found " + with_thousands(size) + " tokens, expected at most data.max_length = " +
                           with_thousands(options_.max_length) + ". Increase it, or set data.overlength to truncate, drop or split.");
  }
  return overlong;
}

void RowEncoder::fit(const std::vector<int32_t>& ids, bool is_cut, const std::string& origin, const MakeExample& make,
                     EncodedRow& row) const {
  const bool overlong = is_overlong(ids, is_cut, origin, row);
  if (overlong && options_.overlength == Overlength::kDrop) {
    return;
  }
  const auto size = static_cast<int64_t>(ids.size());
  bool kept = false;
  const bool splits = overlong && options_.overlength == Overlength::kSplit;
  for (const DocumentPart& part : splits ? parts_of(ids) : std::vector<DocumentPart>{{0, std::min(size, options_.max_length)}}) {
    kept = keep(make(part), row) || kept;
  }
  row.skipped = row.skipped || !kept;
}

// A part without a supervised token is dropped; the row counts as skipped if all parts are dropped. If the document begins with BOS, each
// part does: a model that was always trained with BOS computes poor results without it.
std::vector<DocumentPart> RowEncoder::parts_of(const std::vector<int32_t>& ids) const {
  const auto size = static_cast<int64_t>(ids.size());
  const auto bos = context_.tokenizer != nullptr ? context_.tokenizer->bos_id() : std::nullopt;
  const bool repeats_bos = bos && ids.front() == *bos;
  std::vector<DocumentPart> parts;
  for (int64_t begin = 0; begin < size; begin = parts.back().end) {
    const bool adds_bos = repeats_bos && begin > 0;
    parts.push_back({begin, std::min(size, begin + options_.max_length - (adds_bos ? 1 : 0)), adds_bos});
  }
  return parts;
}

bool RowEncoder::keep(Example example, EncodedRow& row) const {
  if (example.num_supervised() == 0 && row.label.kind == LabelKind::kNone && !context_.keep_unsupervised) {
    return false;
  }
  example.continues_row = !row.examples.empty();
  row.examples.push_back(std::move(example));
  return true;
}

}  // namespace lora::data
