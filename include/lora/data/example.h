#pragma once
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace lora::data {

/// Where a document stands. Documents of one file share its name.
struct Origin {
  std::shared_ptr<const std::string> file;
  int64_t line = 0;

  std::string text() const;  ///< "file:line"
};

/// How a document's labels follow from its ids: a few numbers where they are the ids of what is learnt and nothing else is.
struct Labelling {
  /// Where supervision ends and begins again, in turn; it begins at position 0. Empty: all is learnt; {0, 5}: all from
  /// position 5 on. With `own`: the labels themselves.
  std::vector<int32_t> values;
  bool own = false;
};

/// What a row of features has in place of a document.
struct DenseRow {
  std::vector<int64_t> shape;   ///< of the features; empty: one number
  std::vector<float> features;  ///< row by row
  std::vector<float> targets;   ///< of a regression of several values; else empty, and the example's target counts
};

/// One document: ids, and labels of the same length (not shifted, nn::kIgnoreLabel where not supervised). A set holds
/// millions, so labels are kept as a Labelling.
struct Example {
  std::vector<int32_t> ids;
  Labelling labelling;
  Origin origin;
  double weight = 1.0;  ///< expected uses in an epoch
  /// What the whole document is labelled with: a class's number, or in a regression the value; NaN: it has no label.
  double target = std::numeric_limits<double>::quiet_NaN();
  int32_t second_text = 0;                ///< where the second of two texts begins; 0: there is one
  std::shared_ptr<const DenseRow> dense;  ///< of a row of features, whose document is the id 0 alone; null: a row of tokens
  bool continues_row = false;             ///< a further part of the row that the example before it is of

  Example() = default;
  Example(std::vector<int32_t> ids, const std::vector<int32_t>& labels);

  std::vector<int32_t> labels() const;
  int32_t label(size_t position) const;
  bool has_target() const { return !std::isnan(target) || (dense != nullptr && !dense->targets.empty()); }
  /// Labels that are predicted: all but the first position's; 1 for a document with a label of its own, and for a row of features.
  int64_t num_supervised() const;
};

}  // namespace lora::data
