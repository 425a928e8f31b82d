#pragma once
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace lora::data {

/// The source of a document. Documents of one file share its name.
struct Origin {
  std::shared_ptr<const std::string> file;
  int64_t line = 0;

  std::string text() const;  ///< "file:line"
};

/// A compact form of a document's labels: the borders of the supervised ranges if every supervised label is the id at its position.
struct Labelling {
  /// Positions where supervision ends and starts again, alternately, starting supervised at position 0. Empty: everything is
  /// supervised; {0, 5}: everything from position 5 on. With `own`: the labels themselves.
  std::vector<int32_t> values;
  bool own = false;
};

/// The content of a row of features, which has no document.
struct DenseRow {
  std::vector<int64_t> shape;   ///< of the features; empty: one number
  std::vector<float> features;  ///< row by row
  std::vector<float> targets;   ///< of a regression with several values; otherwise empty, and Example::target is used
};

/// One document: ids, and labels of the same length (not shifted, nn::kIgnoreLabel where not supervised). A set may hold
/// millions, so labels are stored as a Labelling.
struct Example {
  std::vector<int32_t> ids;
  Labelling labelling;
  Origin origin;
  double weight = 1.0;  ///< expected uses in an epoch
  /// The label of the whole document: the index of its class, or the value of a regression; NaN: none.
  double target = std::numeric_limits<double>::quiet_NaN();
  int32_t second_text = 0;                ///< where the second of two texts begins; 0: there is one
  std::shared_ptr<const DenseRow> dense;  ///< of a row of features, whose document is only the id 0; null: a row of tokens
  bool continues_row = false;             ///< a further part of the previous example's row

  Example() = default;
  Example(std::vector<int32_t> ids, const std::vector<int32_t>& labels);

  std::vector<int32_t> labels() const;
  int32_t label(size_t position) const;
  bool has_target() const { return !std::isnan(target) || (dense != nullptr && !dense->targets.empty()); }
  /// Number of labels that are predicted, so without the first position; 1 for a document with a label as a whole and for a row of
  /// features.
  int64_t num_supervised() const;
};

}  // namespace lora::data
