#include "app/script_rows.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/data/batches.h"
#include "lora/nn/row_model.h"
#include "lora/torchscript/load.h"

namespace lora::app {

namespace {

using train::ObjectiveKind;

std::string first_origin(const data::Dataset& rows) {
  return rows.examples.front().origin.text();
}

/// The origin of the row that determines the kind of the targets: the first with a decimal point, else the first row.
std::string origin_of_kind(const data::Dataset& rows) {
  const int64_t first = rows.labels.first_real.value_or(0);
  return rows.examples[static_cast<size_t>(first)].origin.text();
}

/// A single decimal point among whole numbers may be a mistake.
void warn_of_lone_value(const data::Dataset& rows) {
  const auto is_whole = [](const data::Example& row) { return row.target() && *row.target() == std::floor(*row.target()); };
  if (rows.labels.first_real.value_or(0) > 0 && std::all_of(rows.examples.begin(), rows.examples.end(), is_whole)) {
    log::warn("[" + origin_of_kind(rows) + "] the target has a decimal point, unlike those before it, so all targets are read as values");
  }
}

bool has_names(const data::LabelSet& targets) {
  return !targets.is_regression && !targets.names.empty();
}

/// The kind of targets for a module's own loss, from the rows that it is trained on; none for rows without targets or with lists of values.
std::optional<data::LabelSet> own_targets(const data::Dataset& rows) {
  switch (rows.labels.kind) {
    case data::LabelKind::kNone:
      return std::nullopt;
    case data::LabelKind::kNames:
      return data::find_labels(rows, std::nullopt);
    case data::LabelKind::kIntegers:
      return data::LabelSet{false, {}};
    case data::LabelKind::kReals:
      warn_of_lone_value(rows);
      return data::LabelSet{true, {}};
  }
  return std::nullopt;
}

const char* kind_text(bool has_names, bool has_values) {
  return has_names ? "classes by name" : has_values ? "values (with a decimal point)" : "classes by number";
}

void set_own_targets(data::Dataset& rows, const data::LabelSet& targets, const std::string& whose) {
  using data::LabelKind;
  const LabelKind kind = rows.labels.kind;
  if (kind == LabelKind::kNone) {
    return;
  }
  // Whole numbers among values count as values.
  const bool fits =
      has_names(targets) ? kind == LabelKind::kNames : kind == LabelKind::kIntegers || (targets.is_regression && kind == LabelKind::kReals);
  if (!fits) {
    data_error(origin_of_kind(rows), "the targets differ in kind from those of " + whose + ": found " +
                                         kind_text(kind == LabelKind::kNames, kind == LabelKind::kReals) + ", expected " +
                                         kind_text(has_names(targets), targets.is_regression));
  }
  if (has_names(targets)) {
    rows = data::resolve_labels(std::move(rows), targets);
  } else if (targets.is_regression) {
    rows = data::labels_as_values(std::move(rows));
  }
}

std::optional<data::LabelSet> settle_own_targets(data::Dataset& first, data::Dataset* second, const std::optional<data::LabelSet>& known) {
  const std::optional<data::LabelSet> targets = known ? known : own_targets(first);
  for (data::Dataset* rows : {&first, second}) {
    if (rows != nullptr && targets) {
      set_own_targets(*rows, *targets, known ? "the adapter" : first_origin(first));
    }
  }
  return targets;
}

/// Runs the module on the longest row, so that a row that is too long is reported before training.
void try_longest(const nn::RowModel& network, const data::Dataset& rows, at::Device device, bool gives_loss) {
  const at::NoGradGuard no_grad;
  const nn::Batch batch = data::make_batch(rows, {rows.longest()}).to(device);
  const nn::Pass pass = nn::evaluation_pass(batch);
  gives_loss ? network.loss(pass) : network.predict(pass);
}

}  // namespace

std::optional<data::LabelSet> settle_targets(data::Dataset& first, data::Dataset* second, ObjectiveKind objective,
                                             const std::optional<data::LabelSet>& known, bool need_targets) {
  if (objective == ObjectiveKind::kModuleLoss) {
    return settle_own_targets(first, second, known);
  }
  for (data::Dataset* rows : {&first, second}) {
    if (rows == nullptr) {
      continue;
    }
    if (need_targets) {
      data::require_targets(*rows, std::string("which ") + std::string(train::kObjectiveKinds.name(objective)) + " needs");
    }
    if (objective == ObjectiveKind::kRegression) {
      if (rows->labels.kind == data::LabelKind::kNames) {
        data_error(first_origin(*rows), "the target is a name: found \"" + printable(rows->labels.names.front()) +
                                            "\", expected a number. Use the objective \"sequence_classification\" for classes.");
      }
      *rows = data::labels_as_values(std::move(*rows));
    }
  }
  return std::nullopt;
}

models::BaseModel load_row_base(const models::ModelOptions& model, const data::Dataset& first, const data::Dataset* second,
                                ObjectiveKind objective) {
  const bool gives_loss = objective == ObjectiveKind::kModuleLoss;
  if (second != nullptr) {
    data::require_same_shape(first, *second);
  }
  models::BaseModel base = torchscript::load_row_model(model, first, gives_loss, second);
  for (const data::Dataset* rows : {&first, second}) {
    if (rows != nullptr) {
      try_longest(*base.model->rows(), *rows, base.model->device(), gives_loss);
    }
  }
  return base;
}

data::LabelSet row_labels(const data::Dataset& rows, const nn::Model& model, const std::optional<data::LabelSet>& known) {
  const int64_t count = model.rows()->num_outputs();
  if (count < 2) {
    model_error("model.path", "the module does not score classes: found " + counted(count, "output") +
                                  " per row, expected the scores of at least 2 classes. Use the objective \"regression\" for values.");
  }
  const auto has_values = [](const data::Example& row) { return row.features() != nullptr && row.features()->values() != nullptr; };
  if (rows.labels.kind == data::LabelKind::kReals || std::any_of(rows.examples.begin(), rows.examples.end(), has_values)) {
    data_error(origin_of_kind(rows), "the target is not a class: found a value, expected names or whole numbers from 0 to " +
                                         std::to_string(count - 1) + ". Use the objective \"regression\" for values.");
  }
  data::LabelSet labels = known && has_names(*known)                        ? *known
                          : rows.labels.kind == data::LabelKind::kNames ? data::find_labels(rows, std::nullopt)
                                                                            : data::numbered_labels(count);
  if (labels.num_labels() != count) {
    data_error(first_origin(rows), "the rows have a different number of classes from the module: found " +
                                       std::to_string(labels.num_labels()) + " (" + join(labels.names, ", ", 20) + "), expected " +
                                       std::to_string(count));
  }
  return labels;
}

}  // namespace lora::app
