#include "torchscript/tried_rows.h"

#include <algorithm>

#include "lora/base/random.h"
#include "lora/nn/batch.h"

namespace lora::torchscript {

namespace {

constexpr uint64_t kTriedRowSeed = 0x7219;
constexpr auto kIgnore = static_cast<int32_t>(nn::kIgnoreLabel);

data::Example with_tokens(const data::Example& row, std::vector<int32_t> ids, const std::vector<int32_t>& labels) {
  const bool is_document = std::holds_alternative<data::TokenDocument>(row.content);
  data::Example other = is_document ? data::Example(std::move(ids), labels)
                                    : data::Example(data::LabelledText{std::move(ids), /*second_text=*/0, row.target()});
  other.origin = row.origin;
  return other;
}

/// The index after the last supervised token; 0 without any.
size_t end_of_supervised(const std::vector<int32_t>& labels) {
  const auto last = std::find_if(labels.rbegin(), labels.rend(), [](int32_t label) { return label != kIgnore; });
  return static_cast<size_t>(labels.rend() - last);
}

/// The row with only its last supervised token, or with all tokens supervised: the others get that token's label, which the network knows.
data::Example with_supervised(const data::Example& row, bool all) {
  std::vector<int32_t> labels = row.labels();
  const size_t end = end_of_supervised(labels);
  for (size_t i = 0; i < labels.size() && end > 0; ++i) {
    const int32_t other = labels[i] == kIgnore ? labels[end - 1] : labels[i];
    labels[i] = i + 1 == end || all ? other : kIgnore;
  }
  return with_tokens(row, row.ids(), labels);
}

bool are_alike(const data::Example& a, const data::Example& b) {
  return a.features() != nullptr ? a.features()->features == b.features()->features : a.ids() == b.ids();
}

/// Each feature reduced by its own fraction, so that numbers of categories stay in range; 0 becomes a small number.
void change(data::FeatureRow& row, CounterRandom& random) {
  for (float& feature : row.features) {
    const auto share = static_cast<float>(random.uniform());
    feature = feature != 0 ? feature * (1 - share / 2) : share / 8;
  }
}

class Chooser {
 public:
  Chooser(const data::Dataset& rows, const TriedRows& needed) : rows_(rows), needed_(needed) { tried_.labels = rows.labels; }

  data::Dataset choose() {
    take_where([this](const data::Example& row) { return has_new_target(row); });
    take_where([](const data::Example&) { return true; });
    const size_t found = tried_.examples.size();
    for (size_t i = 0; !is_full(); ++i) {
      tried_.examples.push_back(made_of(tried_.examples[i % found], i));
    }
    for (size_t i = 0; i < tried_.examples.size(); ++i) {
      data::Example& row = tried_.examples[i];
      row = is_supervised(row) ? with_supervised(row, i % 2 == 1) : row;
    }
    return std::move(tried_);
  }

 private:
  bool is_full() const { return static_cast<int64_t>(tried_.examples.size()) >= needed_.count; }

  /// Distinct rows first, then all.
  template <typename RowTest>
  void take_where(const RowTest& suits) {
    const auto size = static_cast<int64_t>(rows_.examples.size());
    for (int64_t i = 0; i < needed_.count + size && !is_full(); ++i) {
      const data::Example& row = rows_.examples[static_cast<size_t>(i < needed_.count ? i * size / needed_.count : i - needed_.count)];
      if (!suits(row)) {
        continue;
      }
      data::Example own = fitted(row, needed_.length);
      if (std::none_of(tried_.examples.begin(), tried_.examples.end(), [&](const data::Example& other) { return are_alike(own, other); })) {
        tried_.examples.push_back(std::move(own));
      }
    }
  }

  bool has_new_target(const data::Example& row) const {
    return row.target() && std::none_of(tried_.examples.begin(), tried_.examples.end(),
                                        [&row](const data::Example& other) { return other.target() == row.target(); });
  }

  data::Example made_of(const data::Example& row, uint64_t number) const {
    CounterRandom random(mix64(kTriedRowSeed, number));
    data::Example other = row;
    if (auto* const features = std::get_if<data::FeatureRow>(&other.content)) {
      change(*features, random);
      return other;
    }
    auto* const document = std::get_if<data::TokenDocument>(&other.content);
    const int64_t num_ids = needed_.num_ids > 0 ? needed_.num_ids : *std::max_element(row.ids().begin(), row.ids().end()) + 1;
    for (int32_t& id : document != nullptr ? document->ids : std::get<data::LabelledText>(other.content).ids) {
      id = static_cast<int32_t>(random.below(static_cast<uint64_t>(num_ids)));  // labels that are ids change with them
    }
    return other;
  }

  const data::Dataset& rows_;
  const TriedRows& needed_;
  data::Dataset tried_;
};

}  // namespace

bool is_supervised(const data::Example& row) {
  return row.features() == nullptr && !row.has_target();
}

data::Example fitted(const data::Example& row, int64_t length) {
  const size_t size = row.ids().size(), needed = static_cast<size_t>(length);
  if (row.features() != nullptr || size == needed) {
    return row;
  }
  const std::vector<int32_t> labels = row.labels();
  const size_t supervised = end_of_supervised(labels), end = supervised > 0 ? supervised : size;
  std::vector<int32_t> ids, own;
  for (size_t i = end - std::min(end, needed); ids.size() < needed; ++i) {
    ids.push_back(row.ids()[i % size]);
    own.push_back(labels[i % size]);
  }
  return with_tokens(row, std::move(ids), own);
}

data::Dataset tried_rows(const data::Dataset& rows, const TriedRows& needed) {
  return Chooser(rows, needed).choose();
}

}  // namespace lora::torchscript
