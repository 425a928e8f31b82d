#include <algorithm>

#include "data/formats.h"
#include "data/token_rows.h"
#include "lora/base/error.h"
#include "lora/base/text.h"

namespace lora::data {
namespace {

// How many tokens of each text are kept so that both fit: the longer is truncated first, as in Hugging Face tokenizers.
std::pair<size_t, size_t> longest_first(size_t first, size_t second, size_t most) {
  size_t shorter = std::min(first, second);
  size_t longer = shorter > most ? shorter : std::max(shorter, most - shorter);
  if (shorter + longer > most) {
    shorter = most / 2;
    longer = shorter + most % 2;
  }
  return first > second ? std::pair{longer, shorter} : std::pair{shorter, longer};
}

// Truncates the texts so that they fit into max_length including special tokens. `second` may be null.
bool cut(std::vector<int32_t>& first, std::vector<int32_t>* second, const FormatContext& context) {
  const std::vector<int32_t> none;
  const size_t around = context.tokenizer->around(none, second == nullptr ? nullptr : &none).ids.size();
  const size_t size = first.size() + (second == nullptr ? 0 : second->size());
  const auto room = static_cast<size_t>(std::max<int64_t>(0, context.max_length - static_cast<int64_t>(around)));
  if (context.max_length == 0 || size <= room) {
    return false;
  }
  if (second == nullptr) {
    first.resize(room);
    return true;
  }
  const auto [of_first, of_second] = longest_first(first.size(), second->size(), room);
  first.resize(std::min(first.size(), of_first));
  second->resize(std::min(second->size(), of_second));
  return true;
}

// The position of the first token of type 1; 0: there is none.
int32_t border_of(const std::vector<int32_t>& types, const Fields& fields) {
  const auto border = std::find(types.begin(), types.end(), 1);
  const bool is_first = std::all_of(types.begin(), border, [](int32_t type) { return type == 0; });
  if (!is_first || !std::all_of(border, types.end(), [](int32_t type) { return type == 1; }) ||
      (border == types.begin() && !types.empty())) {
    data_error(fields.origin(), "the token types are not those of a first and a second text: expected zeros, then ones");
  }
  return border == types.end() ? 0 : static_cast<int32_t>(border - types.begin());
}

EncodedText encode_texts(const Fields& fields, const FormatContext& context) {
  if (context.tokenizer == nullptr) {
    data_error(fields.origin(), "the row has a text, but there is no tokenizer. Set model.tokenizer, or use \"input_ids\".");
  }
  std::vector<int32_t> first = text_ids(fields.text("text"), context.text_rule()), second;
  const bool is_pair = fields.has("text_pair");
  if (is_pair) {
    second = text_ids(fields.text("text_pair"), context.text_rule());
  }
  EncodedText text;
  text.cut = cut(first, is_pair ? &second : nullptr, context);
  tokenizer::TypedIds whole = context.tokenizer->around(first, is_pair ? &second : nullptr);
  text.second_text = border_of(whole.types, fields);
  text.ids = std::move(whole.ids);
  return text;
}

std::vector<int32_t> kept_of(const std::vector<int32_t>& values, const RowLayout& layout) {
  std::vector<int32_t> kept;
  for (size_t i = 0; i < values.size(); ++i) {
    if (layout.kept[i]) {
      kept.push_back(values[i]);
    }
  }
  return kept;
}

EncodedText encode_ids(const Fields& fields, const FormatContext& context) {
  if (fields.has("text") || fields.has("text_pair")) {
    fields.fail("input_ids", "found together with a text, expected only one of the two");
  }
  EncodedText text;
  const std::vector<int32_t> ids = fields.integers("input_ids", 0, context.vocab_size - 1, 0);
  const RowLayout layout = layout_of(ids.size(), fields);
  if (std::find(layout.starts.begin(), layout.starts.end(), true) != layout.starts.end()) {
    fields.fail("input_ids", "found several documents (attention_mask, seq_lengths or position_ids), expected one with the row's label");
  }
  text.ids = kept_of(ids, layout);
  if (fields.has("token_type_ids")) {
    const std::vector<int32_t> types = fields.integers("token_type_ids", 0, 1, 0);
    if (types.size() != ids.size()) {
      fields.fail("token_type_ids", "found " + std::to_string(types.size()) + " values for " + std::to_string(ids.size()) +
                                        " input_ids, expected one per id");
    }
    text.second_text = border_of(kept_of(types, layout), fields);
  }
  return text;
}

}  // namespace

EncodedContent encode_classification(const Fields& fields, const FormatContext& context) {
  EncodedText text = fields.has("input_ids") ? encode_ids(fields, context) : encode_texts(fields, context);
  RowLabel label;
  if (context.needs_label || fields.has("label")) {
    label = fields.label("label");
  }
  if (text.ids.empty()) {
    data_error(fields.origin(), "the row has no tokens to classify");
  }
  return {std::move(text), std::move(label)};
}

}  // namespace lora::data
