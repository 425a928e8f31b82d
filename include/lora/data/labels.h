#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/json.h"

namespace lora::data {

struct Dataset;

/// The kind of the labels in a set's rows.
enum class LabelKind {
  kNone,
  kIntegers,  ///< classes by index
  kReals,     ///< values of a regression: at least one is fractional or written with a decimal point (1.0)
  kNames,     ///< classes by name
};

/// What the numbers are that examples have as targets.
struct RowLabels {
  LabelKind kind = LabelKind::kNone;
  std::vector<std::string> names;     ///< of kNames, in order of first appearance; an example's target is an index into it
  std::optional<int64_t> first_real;  ///< of kReals: the first example with such a value in its file
};

/// What a classifier's outputs mean.
struct LabelSet {
  bool is_regression = false;
  std::vector<std::string> names;  ///< by index (transformers' id2label); none for a module with its own loss, which takes numbers

  int64_t num_labels() const { return static_cast<int64_t>(names.size()); }
};

/// The labels that a model's config.json defines (id2label or num_labels, problem_type); none if it defines none. Throws model Error for
/// an unsupported problem_type or a malformed id2label.
std::optional<LabelSet> read_label_set(const JsonReader& config);

/// id2label, label2id and problem_type, as in config.json; only the last for a set without names.
Json label_set_json(const LabelSet& labels);

/// `count` labels with default names: LABEL_0, …
LabelSet numbered_labels(int64_t count);

/// Whether the names are the defaults of transformers: LABEL_0, …
bool are_numbered(const LabelSet& labels);

/// The meaning of the labels of training rows: as the model's config.json says (`known`); otherwise values of a regression if one is
/// fractional; otherwise classes, by index from 0 to the largest or by name in sorted order. If `known` has only the names
/// LABEL_<number>, only its number of labels counts for rows with other names. Throws data Error if there is only one class.
LabelSet find_labels(const Dataset& train, const std::optional<LabelSet>& known);

/// The rows with targets that are classes of the set by index, or values. Throws data Error naming file:line for a label that is not in
/// the set.
Dataset resolve_labels(Dataset rows, const LabelSet& labels);

/// The rows with targets that are values, also where they are whole numbers.
Dataset labels_as_values(Dataset rows);

}  // namespace lora::data
