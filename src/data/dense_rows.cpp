// Rows of features. N: number of rows, K: number of values of a target.
#include "data/dense_rows.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "data/formats.h"
#include "data/image_tensors.h"
#include "lora/base/error.h"
#include "lora/base/found_text.h"
#include "lora/base/text.h"
#include "lora/io/tensor_facts.h"

namespace lora::data {
namespace {

using io::shape_text;

constexpr size_t kMostDimensions = 16;  // more is most likely a mistake

/// Reads numbers in nested lists as float32. All lists of one depth must have the same length.
class NumberReader {
 public:
  NumberReader(const Fields& fields, const std::string& field) : fields_(fields), field_(field) {}

  std::pair<std::vector<int64_t>, std::vector<float>> read() {
    const Json values = fields_.numbers(field_);
    const Json* inner = &values;
    while (inner->is_array() && !inner->empty() && shape_.size() <= kMostDimensions) {
      shape_.push_back(static_cast<int64_t>(inner->size()));
      inner = &inner->front();
    }
    if (shape_.size() > kMostDimensions) {
      fields_.fail(field_, "found lists nested deeper than " + std::to_string(kMostDimensions) + " levels, expected a tensor");
    }
    add(values, 0);
    return {shape_, std::move(numbers_)};
  }

 private:
  void add(const Json& value, size_t depth) {
    if (depth == shape_.size()) {
      add_number(value);
      return;
    }
    if (!value.is_array() || static_cast<int64_t>(value.size()) != shape_[depth]) {
      const std::string found = value.is_array() ? "a list of " + std::to_string(value.size()) : found_text(value);
      fields_.fail(field_, "the lists are ragged: found " + found + ", expected a list of " + std::to_string(shape_[depth]) +
                               ", like the first at this depth (the whole shape is " + shape_text(shape_) + ")");
    }
    for (const Json& inner : value) {
      add(inner, depth + 1);
    }
  }

  void add_number(const Json& value) {
    const double number = value.is_number() ? value.get<double>() : NAN;
    if (!(std::abs(number) <= std::numeric_limits<float>::max())) {
      fields_.fail(field_, "found " + found_text(value) + ", expected a number in the range of float32" +
                               (shape_.empty() ? ", or a list of such numbers" : ""));
    }
    numbers_.push_back(static_cast<float>(number));
  }

  const Fields& fields_;
  const std::string& field_;
  std::vector<int64_t> shape_;
  std::vector<float> numbers_;
};

/// What it holds, for messages.
std::string kind_of_content(const Example& example) {
  return example.features() != nullptr ? "features" : example.image() != nullptr ? "images" : "tokens";
}

}  // namespace

EncodedContent encode_features(const Fields& fields, const FormatContext&) {
  FeatureRow row;
  std::tie(row.shape, row.features) = NumberReader(fields, "features").read();
  RowLabel label;
  if (fields.has("target") && fields.is_list("target")) {
    auto [shape, values] = NumberReader(fields, "target").read();
    if (shape.size() != 1) {
      fields.fail("target", "found nested lists, expected a class, a number or a list of numbers");
    }
    row.target = std::move(values);
  } else if (fields.has("target")) {
    label = fields.label("target");
  }
  return {std::move(row), std::move(label)};
}

void require_like(const Example& first, const Example& example) {
  const auto fail = [&](const std::string& what) { data_error(example.origin.text(), what); };
  if (kind_of_content(example) != kind_of_content(first)) {
    fail("a row of " + kind_of_content(example) + " among rows of " + kind_of_content(first) + ": expected one kind of rows in a set");
  }
  if (example.image() != nullptr) {
    require_like_image(*first.image(), first.origin.text(), *example.image(), example.origin.text());
  }
  const FeatureRow* const one = first.features();
  const FeatureRow* const row = example.features();
  if (row == nullptr) {
    return;
  }
  if (row->shape != one->shape) {
    fail("the shape of the features differs from that of " + first.origin.text() + ": found " + shape_text(row->shape) + ", expected " +
         shape_text(one->shape));
  }
  const bool both_have_targets = first.has_target() && example.has_target();
  const auto size = [](const FeatureRow& of) { return of.values() != nullptr ? of.values()->size() : 0; };
  if (both_have_targets && size(*row) != size(*one)) {
    const auto count = [&size](const FeatureRow& of) {
      return size(of) == 0 ? std::string("no list of values") : std::to_string(size(of)) + " values";
    };
    fail("the target differs from that of " + first.origin.text() + ": found " + count(*row) + ", expected " + count(*one));
  }
}

void require_targets(const Dataset& dataset, const std::string& why) {
  for (const Example& example : dataset.examples) {
    if (!example.has_target()) {
      data_error(example.origin.text(), "the row has no target: expected one, " + why);
    }
  }
}

void require_same_shape(const Dataset& first, const Dataset& second) {
  if (!first.examples.empty() && !second.examples.empty()) {
    require_like(first.examples.front(), second.examples.front());
  }
}

at::Tensor features_of(const Dataset& dataset, const std::vector<int64_t>& indices) {
  const FeatureRow& first = *dataset.examples.at(static_cast<size_t>(indices.front())).features();
  std::vector<int64_t> sizes{static_cast<int64_t>(indices.size())};
  sizes.insert(sizes.end(), first.shape.begin(), first.shape.end());
  at::Tensor features = at::empty(sizes, at::kFloat);
  float* next = features.data_ptr<float>();
  for (const int64_t index : indices) {
    const FeatureRow& row = *dataset.examples.at(static_cast<size_t>(index)).features();
    next = std::copy(row.features.begin(), row.features.end(), next);
  }
  return features;
}

std::optional<at::Tensor> targets_of(const Dataset& dataset, const std::vector<int64_t>& indices) {
  std::vector<double> values;
  int64_t width = 0;
  for (const int64_t index : indices) {
    const Example& example = dataset.examples.at(static_cast<size_t>(index));
    if (!example.has_target()) {
      return std::nullopt;
    }
    if (const std::optional<double> target = example.target()) {
      values.push_back(*target);
    } else {
      const std::vector<float>& list = *example.features()->values();
      values.insert(values.end(), list.begin(), list.end());
      width = static_cast<int64_t>(list.size());
    }
  }
  const at::Tensor all = at::tensor(values, at::kDouble).to(dataset.has_classes() ? at::kLong : at::kFloat);
  return width > 0 ? all.view({-1, width}) : all;
}

}  // namespace lora::data
