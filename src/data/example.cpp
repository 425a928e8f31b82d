#include "lora/data/example.h"

#include <algorithm>

#include "data/ignore_label.h"
#include "lora/nn/batch.h"

namespace lora::data {
namespace {

Labelling labelling_of(const std::vector<int32_t>& ids, const std::vector<int32_t>& labels) {
  Labelling borders;
  bool supervised = true;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] != kIgnore && labels[i] != ids[i]) {
      return {labels, true};
    }
    if (supervised != (labels[i] != kIgnore)) {
      supervised = !supervised;
      borders.values.push_back(static_cast<int32_t>(i));
    }
  }
  borders.values.shrink_to_fit();
  return borders;
}

/// A document of tokens of an example; null if it holds something else.
const TokenDocument* token_document(const Example& example, size_t document) {
  const auto* const group = std::get_if<DocumentGroup>(&example.content);
  return group != nullptr ? &group->documents.at(document) : std::get_if<TokenDocument>(&example.content);
}

}  // namespace

std::string Origin::text() const {
  return (file ? *file : "") + (line > 0 ? ":" + std::to_string(line) : "");
}

TokenDocument::TokenDocument(std::vector<int32_t> all_ids, const std::vector<int32_t>& labels)
    : ids(std::move(all_ids)), labelling(labelling_of(ids, labels)) {
  ids.shrink_to_fit();
}

std::vector<int32_t> TokenDocument::labels() const {
  if (labelling.own) {
    return labelling.values;
  }
  std::vector<int32_t> labels = ids;
  for (size_t i = 0; i < labelling.values.size(); i += 2) {
    const auto end = i + 1 < labelling.values.size() ? labels.begin() + labelling.values[i + 1] : labels.end();
    std::fill(labels.begin() + labelling.values[i], end, kIgnore);
  }
  return labels;
}

int32_t TokenDocument::label(size_t position) const {
  if (labelling.own) {
    return labelling.values[position];
  }
  const auto& borders = labelling.values;
  const auto passed = std::upper_bound(borders.begin(), borders.end(), static_cast<int64_t>(position)) - borders.begin();
  return passed % 2 == 0 ? ids[position] : kIgnore;
}

int64_t TokenDocument::num_supervised() const {
  if (ids.empty()) {
    return 0;
  }
  const int64_t first = label(0) != kIgnore ? 1 : 0;
  if (labelling.own) {
    return std::count_if(labelling.values.begin(), labelling.values.end(), [](int32_t label) { return label != kIgnore; }) - first;
  }
  auto count = static_cast<int64_t>(ids.size());
  for (size_t i = 0; i < labelling.values.size(); i += 2) {
    const int64_t end = i + 1 < labelling.values.size() ? labelling.values[i + 1] : static_cast<int64_t>(ids.size());
    count -= end - labelling.values[i];
  }
  return count - first;
}

size_t Example::num_documents() const {
  const auto* const group = std::get_if<DocumentGroup>(&content);
  return group != nullptr ? group->documents.size() : 1;
}

const std::vector<int32_t>& Example::ids(size_t document) const {
  static const std::vector<int32_t> kNone;
  if (const TokenDocument* const own = token_document(*this, document)) {
    return own->ids;
  }
  const auto* const text = std::get_if<LabelledText>(&content);
  return text != nullptr ? text->ids : kNone;
}

int64_t Example::num_tokens() const {
  if (features() != nullptr) {
    return 1;
  }
  if (image() != nullptr) {
    return image()->latents[1] * image()->latents[2];
  }
  int64_t count = 0;
  for (size_t document = 0; document < num_documents(); ++document) {
    count += static_cast<int64_t>(ids(document).size());
  }
  return count;
}

int64_t Example::longest_document() const {
  if (features() != nullptr || image() != nullptr) {
    return num_tokens();
  }
  size_t longest = 0;
  for (size_t document = 0; document < num_documents(); ++document) {
    longest = std::max(longest, ids(document).size());
  }
  return static_cast<int64_t>(longest);
}

std::vector<int32_t> Example::labels(size_t document) const {
  const TokenDocument* const own = token_document(*this, document);
  const size_t count = features() != nullptr ? 1 : ids(document).size();
  return own != nullptr ? own->labels() : std::vector<int32_t>(count, kIgnore);
}

int32_t Example::label(size_t position, size_t document) const {
  const TokenDocument* const own = token_document(*this, document);
  return own != nullptr ? own->label(position) : kIgnore;
}

std::optional<double> Example::target() const {
  if (const auto* const text = std::get_if<LabelledText>(&content)) {
    return text->label;
  }
  const auto* const number = features() != nullptr ? std::get_if<double>(&features()->target) : nullptr;
  return number != nullptr ? std::optional(*number) : std::nullopt;
}

void Example::set_target(double number) {
  if (auto* const row = std::get_if<FeatureRow>(&content)) {
    row->target = number;
  } else {
    std::get<LabelledText>(content).label = number;
  }
}

size_t Example::num_target_values() const {
  const std::vector<float>* const values = features() != nullptr ? features()->values() : nullptr;
  return values != nullptr ? values->size() : target() ? 1 : 0;
}

int64_t Example::num_first_supervised() const {
  int64_t count = 0;
  for (size_t document = 0; document < num_documents(); ++document) {
    count += !ids(document).empty() && label(0, document) != kIgnore ? 1 : 0;
  }
  return count;
}

int64_t Example::num_supervised() const {
  if (std::holds_alternative<LabelledText>(content)) {
    return has_target() ? 1 : 0;
  }
  if (features() != nullptr || image() != nullptr) {
    return 1;
  }
  int64_t count = 0;
  for (size_t document = 0; document < num_documents(); ++document) {
    count += token_document(*this, document)->num_supervised();
  }
  return count;
}

}  // namespace lora::data
