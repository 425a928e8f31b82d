#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/json.h"

namespace lora::data {

struct Dataset;

/// What the labels of a set's rows are.
enum class LabelKind {
  kNone,
  kIntegers,  ///< classes by number
  kReals,     ///< values of a regression: a number that is not whole is among them, or written as one (1.0)
  kNames,     ///< classes by name
};

struct RawLabels {
  LabelKind kind = LabelKind::kNone;
  std::vector<std::string> names;  ///< kNames: in the order of their first rows; an example's target is a place in it
  int64_t first_real = -1;         ///< kReals: the first example that makes them so
};

/// What a classifier's outputs mean.
struct LabelSet {
  bool is_regression = false;
  std::vector<std::string> names;  ///< of its labels by number: transformers' id2label; none: of a module's own loss, which takes numbers

  int64_t num_labels() const { return static_cast<int64_t>(names.size()); }
};

/// Those that a model's config.json tells (id2label or num_labels, problem_type); none: it tells nothing. Throws model Error for a
/// problem_type that is not supported, and for an id2label that is none.
std::optional<LabelSet> read_label_set(const JsonReader& config);

/// id2label, label2id and problem_type, as config.json has them; of a set without names the last alone.
Json label_set_json(const LabelSet& labels);

/// `count` labels without names of their own: LABEL_0, …
LabelSet numbered_labels(int64_t count);

/// Whether the names are those that transformers gives by itself: LABEL_0, …
bool are_numbered(const LabelSet& labels);

/// What the labels of training rows mean: as the model's config.json says (`known`), else values of a regression where one is not
/// whole, else classes: by number from 0 to the largest, or by name in sorted order. Names that `known` does not have, where it has
/// none but LABEL_<number>, are taken as if it told nothing but how many. Throws data Error where there is but one class.
LabelSet find_labels(const Dataset& train, const std::optional<LabelSet>& known);

/// Gives each example that has a label its number. Throws data Error, file:line, for a label that is none of the set.
void apply_labels(Dataset& dataset, const LabelSet& labels);

}  // namespace lora::data
