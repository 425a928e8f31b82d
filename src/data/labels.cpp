#include "lora/data/labels.h"

#include <algorithm>
#include <cmath>

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/data/dataset.h"

namespace lora::data {
namespace {

constexpr int64_t kMostLabels = 1 << 20;  // more is most likely a mistake

std::vector<std::string> read_names(const JsonReader& config) {
  const Json& id2label = config.at("id2label");
  std::vector<std::string> names(id2label.is_object() ? id2label.size() : 0);
  for (size_t id = 0; id < names.size(); ++id) {
    const auto found = id2label.find(std::to_string(id));
    if (found == id2label.end() || !found->is_string()) {
      config.fail("id2label", "an object from \"0\", \"1\", … to names");
    }
    names[id] = found->get<std::string>();
  }
  if (names.empty()) {
    config.fail("id2label", "an object from \"0\", \"1\", … to names");
  }
  return names;
}

bool is_regression(const JsonReader& config, int64_t num_labels) {
  const std::string type = config.string("problem_type", num_labels == 1 ? "regression" : "single_label_classification");
  if (type != "regression" && type != "single_label_classification") {
    config.fail("problem_type", "\"single_label_classification\" or \"regression\"");
  }
  if (type == "regression" && num_labels > 1) {
    config.fail("problem_type", "a regression of one value: id2label has " + std::to_string(num_labels));
  }
  return type == "regression";
}

std::string shown_label(const Dataset& dataset, double target) {
  return dataset.labels.kind == LabelKind::kNames ? "\"" + printable(dataset.labels.names[static_cast<size_t>(target)]) + "\""
                                                  : shown(Json(target));
}

[[noreturn]] void fail_label(const Dataset& dataset, const Example& example, const LabelSet& labels) {
  std::string expected = "a number";
  if (!labels.is_regression) {
    const bool by_name = dataset.labels.kind == LabelKind::kNames || !are_numbered(labels);
    expected = by_name ? "one of " + join(labels.names, ", ", 20) : "a class from 0 to " + std::to_string(labels.num_labels() - 1);
  }
  data_error(example.origin.text(), "the model does not have the label: found " + shown_label(dataset, *example.target()) + ", expected " +
                                        expected +
                                        ". The classes are those of the training rows, or of the model's config.json (id2label).");
}

// The index in the set of each name in the rows; -1: none.
std::vector<int64_t> label_numbers(const std::vector<std::string>& names, const LabelSet& labels) {
  std::vector<int64_t> numbers;
  for (const std::string& name : names) {
    const auto found = std::find(labels.names.begin(), labels.names.end(), name);
    numbers.push_back(found == labels.names.end() ? -1 : found - labels.names.begin());
  }
  return numbers;
}

// The number of classes of rows whose labels are indices.
int64_t count_classes(const Dataset& train) {
  double largest = 0;
  for (const Example& example : train.examples) {
    const double target = example.target().value_or(0);
    if (target < 0 || target >= kMostLabels) {
      data_error(example.origin.text(), "the label is not a class: found " + shown(Json(target)) +
                                            ", expected a number from 0 to " + std::to_string(kMostLabels - 1) +
                                            ". Write the values of a regression with a decimal point.");
    }
    largest = std::max(largest, target);
  }
  return static_cast<int64_t>(largest) + 1;
}

void require_classes(int64_t count) {
  if (count < 2) {
    data_error("data.train",
               "the rows have too few classes: found " + std::to_string(count) +
                   ", expected at least 2. Write the values of a regression with a decimal point.");
  }
}

}  // namespace

std::optional<LabelSet> read_label_set(const JsonReader& config) {
  LabelSet labels;
  if (config.has("id2label")) {
    labels.names = read_names(config);
  } else if (config.has("num_labels")) {
    labels = numbered_labels(std::clamp<int64_t>(config.integer("num_labels"), 1, kMostLabels));
  } else if (config.string("problem_type", "") == "regression") {
    labels = numbered_labels(1);
  } else {
    is_regression(config, 2);  // throws for an unsupported type
    return std::nullopt;
  }
  labels.is_regression = is_regression(config, labels.num_labels());
  return labels;
}

Json label_set_json(const LabelSet& labels) {
  const char* const type = labels.is_regression ? "regression" : "single_label_classification";
  if (labels.names.empty()) {
    return {{"problem_type", type}};
  }
  Json id2label = Json::object(), label2id = Json::object();
  for (size_t id = 0; id < labels.names.size(); ++id) {
    id2label[std::to_string(id)] = labels.names[id];
    label2id[labels.names[id]] = id;
  }
  return {{"id2label", id2label}, {"label2id", label2id}, {"problem_type", type}};
}

LabelSet numbered_labels(int64_t count) {
  LabelSet labels;
  for (int64_t id = 0; id < count; ++id) {
    labels.names.push_back("LABEL_" + std::to_string(id));
  }
  return labels;
}

bool are_numbered(const LabelSet& labels) {
  return labels.names == numbered_labels(labels.num_labels()).names;
}

LabelSet find_labels(const Dataset& train, const std::optional<LabelSet>& known) {
  const RowLabels& raw = train.labels;
  if (known && known->is_regression) {
    return *known;
  }
  if (raw.kind == LabelKind::kNames) {
    const bool knows_names = known && !(are_numbered(*known) && label_numbers(raw.names, *known).front() < 0);
    if (knows_names) {
      return *known;
    }
    LabelSet labels{false, raw.names};
    std::sort(labels.names.begin(), labels.names.end());
    require_classes(labels.num_labels());
    if (known && known->num_labels() != labels.num_labels()) {
      data_error("data.train", "the classes of the rows differ from the model's: found " + std::to_string(labels.num_labels()) + " (" +
                                   join(labels.names, ", ", 20) + "), expected " + std::to_string(known->num_labels()) +
                                   ", as in its config.json");
    }
    return labels;
  }
  if (known) {
    return *known;
  }
  if (raw.kind == LabelKind::kReals) {
    LabelSet labels = numbered_labels(1);
    labels.is_regression = true;
    return labels;
  }
  const int64_t count = count_classes(train);
  require_classes(count);
  return numbered_labels(count);
}

Dataset resolve_labels(Dataset rows, const LabelSet& labels) {
  const std::vector<int64_t> numbers = label_numbers(rows.labels.names, labels);
  const bool by_name = rows.labels.kind == LabelKind::kNames;
  for (Example& example : rows.examples) {
    const std::optional<double> target = example.target();
    if (!target) {
      continue;
    }
    const double number = by_name ? static_cast<double>(numbers[static_cast<size_t>(*target)]) : *target;
    const bool is_class = number >= 0 && number < static_cast<double>(labels.num_labels()) && std::floor(number) == number;
    if (labels.is_regression ? by_name : !is_class) {
      fail_label(rows, example, labels);
    }
    example.set_target(number);
  }
  rows.labels = {labels.is_regression ? LabelKind::kReals : LabelKind::kIntegers, {}, std::nullopt};
  return rows;
}

Dataset labels_as_values(Dataset rows) {
  rows.labels.kind = LabelKind::kReals;
  return rows;
}

}  // namespace lora::data
