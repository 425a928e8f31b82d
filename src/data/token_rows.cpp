// Rows of token ids, with the columns that TRL, transformers and other trainers add.
#include "data/token_rows.h"

#include <algorithm>

#include "data/formats.h"
#include "data/ignore_label.h"
#include "lora/base/error.h"
#include "lora/nn/batch.h"

namespace lora::data {
namespace {

/// Where further documents begin, from the lengths of consecutive documents.
std::vector<bool> starts_by_lengths(const Fields& fields, size_t count) {
  std::vector<bool> starts(count);
  size_t end = 0;
  for (const int32_t length : fields.integers("seq_lengths", 1, INT32_MAX, 1)) {
    if (end > 0 && end < count) {
      starts[end] = true;
    }
    end += static_cast<size_t>(length);
  }
  if (end != count) {
    fields.fail("seq_lengths", "found lengths that add up to " + std::to_string(end) + ", expected " + std::to_string(count) +
                                   ", the number of input_ids");
  }
  return starts;
}

/// Where further documents begin, from document numbers (1, 1, 2, 2) as packing in LLaMA-Factory writes them; 0 is padding.
std::vector<bool> starts_by_numbers(const std::vector<int32_t>& numbers, const Fields& fields) {
  std::vector<bool> starts(numbers.size());
  int32_t last = 0;
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (numbers[i] == 0) {
      continue;
    }
    if (numbers[i] < last) {
      fields.fail("attention_mask", "found " + std::to_string(numbers[i]) + " after " + std::to_string(last) + " at " + std::to_string(i) +
                                        ", expected 0 and 1, or document numbers in ascending order");
    }
    starts[i] = last != 0 && numbers[i] != last;
    last = numbers[i];
  }
  return starts;
}

/// Which ids are not padding. A gap inside a document is an error, as it would shift the positions.
std::vector<bool> kept_by(const std::vector<int32_t>& attention, const Fields& fields) {
  std::vector<bool> kept(attention.size());
  for (size_t i = 0; i < attention.size(); ++i) {
    kept[i] = attention[i] != 0;
    const bool ends_gap = i > 0 && kept[i] && !kept[i - 1];
    if (ends_gap && std::find(attention.begin(), attention.begin() + static_cast<std::ptrdiff_t>(i), attention[i]) !=
                        attention.begin() + static_cast<std::ptrdiff_t>(i)) {
      fields.fail("attention_mask", "found 0 between ones, before " + std::to_string(i) + ", expected padding only at the ends");
    }
  }
  return kept;
}

/// Where the positions of the kept ids restart at 0. Skipped or repeated positions are an error.
void add_starts_by_positions(std::vector<bool>& starts, const std::vector<bool>& kept, const Fields& fields) {
  const std::vector<int32_t> positions = fields.integers("position_ids", 0, INT32_MAX, 0);
  if (positions.size() != kept.size()) {
    fields.fail("position_ids", "found " + std::to_string(positions.size()) + " values for " + std::to_string(kept.size()) +
                                    " input_ids, expected one per id");
  }
  int32_t next = 0;
  for (size_t i = 0; i < kept.size(); ++i) {
    if (!kept[i]) {
      continue;
    }
    if (positions[i] != next && positions[i] != 0) {
      fields.fail("position_ids", "found " + std::to_string(positions[i]) + " at " + std::to_string(i) + ", expected " +
                                      std::to_string(next) + ", or 0 at the beginning of a document");
    }
    starts[i] = starts[i] || (positions[i] == 0 && next > 0);
    next = positions[i] + 1;
  }
}

/// The masks that exclude ids from the loss, as in other tools: completion_mask marks the completion, the others always apply.
std::vector<std::string> masks_of(const Fields& fields, const FormatContext& context) {
  std::vector<std::string> names;
  for (const char* name : {"completion_mask", "assistant_masks", "loss_mask", "mask"}) {
    const bool is_needed = context.train_on != TrainOn::kAll || name != std::string("completion_mask");
    if (is_needed && fields.has(name)) {
      names.emplace_back(name);
    }
  }
  return names;
}

std::vector<int32_t> labels_of(const std::vector<int32_t>& ids, const Fields& fields, const FormatContext& context) {
  const bool has_own = fields.has("labels");
  std::vector<int32_t> labels = has_own ? fields.integers("labels", 0, context.vocab_size - 1, nn::kIgnoreLabel) : ids;
  if (labels.size() != ids.size()) {
    fields.fail("labels", "found " + std::to_string(labels.size()) + " labels for " + std::to_string(ids.size()) +
                              " input_ids, expected one label per id (not shifted, -100 where not supervised)");
  }
  for (const std::string& name : masks_of(fields, context)) {
    const std::vector<bool> mask = fields.mask(name, ids.size());
    for (size_t i = 0; i < ids.size(); ++i) {
      if (has_own && !mask[i] && labels[i] != kIgnore) {
        fields.fail(name, "found 0 at " + std::to_string(i) + ", where labels has " + std::to_string(labels[i]) +
                              ": expected columns that agree. Remove one of the two.");
      }
      labels[i] = mask[i] ? labels[i] : kIgnore;
    }
  }
  return labels;
}

}  // namespace

RowLayout layout_of(size_t count, const Fields& fields) {
  RowLayout layout{std::vector<bool>(count, true), std::vector<bool>(count)};
  if (fields.has("attention_mask")) {
    const std::vector<int32_t> attention = fields.attention(count);
    layout = {kept_by(attention, fields), starts_by_numbers(attention, fields)};
  }
  if (fields.has("seq_lengths")) {
    const std::vector<bool> starts = starts_by_lengths(fields, count);
    std::transform(starts.begin(), starts.end(), layout.starts.begin(), layout.starts.begin(), [](bool a, bool b) { return a || b; });
  }
  if (fields.has("position_ids")) {
    add_starts_by_positions(layout.starts, layout.kept, fields);
  }
  return layout;
}

EncodedContent encode_tokens(const Fields& fields, const FormatContext& context) {
  const std::vector<int32_t> ids = fields.integers("input_ids", 0, context.vocab_size - 1, 0);
  const std::vector<int32_t> labels = labels_of(ids, fields, context);
  const RowLayout layout = layout_of(ids.size(), fields);
  std::vector<EncodedDocument> documents(1);
  bool begins = false;
  for (size_t i = 0; i < ids.size(); ++i) {
    begins = begins || layout.starts[i];
    if (!layout.kept[i]) {
      continue;
    }
    if (begins && !documents.back().ids.empty()) {
      documents.emplace_back();
    }
    begins = false;
    documents.back().ids.push_back(ids[i]);
    documents.back().labels.push_back(labels[i]);
  }
  return {std::move(documents)};
}

}  // namespace lora::data
