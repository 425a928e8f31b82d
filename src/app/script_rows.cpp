#include "script_rows.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/error.h"
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

/// Classes of a module's own loss are numbers; names get theirs from the first set.
void settle_own_targets(data::Dataset& first, data::Dataset* second) {
  const auto has_names = [](const data::Dataset& rows) { return rows.raw_labels.kind == data::LabelKind::kNames; };
  if (second != nullptr) {
    if (has_names(first) != has_names(*second) || (first.has_classes && !second->has_classes)) {
      data_error(first_origin(*second),
                 "the targets are other than those of " + first_origin(first) +
                     ": expected classes by name, classes by number, or values (with a decimal point) in both sets.");
    }
    second->has_classes = first.has_classes;  // whole numbers among values are values
  }
  if (has_names(first)) {
    const data::LabelSet labels = data::find_labels(first, std::nullopt);
    data::apply_labels(first, labels);
    if (second != nullptr) {
      data::apply_labels(*second, labels);
    }
  }
}

/// Lets the longest row through, so that one which is too long is no surprise in the middle of the run.
void try_longest(const nn::RowModel& network, const data::Dataset& rows, at::Device device, bool gives_loss) {
  const at::NoGradGuard no_grad;
  const nn::TokenBatch batch = data::make_batch(rows, {rows.longest()}).to(device);
  const nn::Pass pass = nn::evaluation_pass(batch);
  gives_loss ? network.loss(pass) : network.predict(pass);
}

}  // namespace

bool takes_rows_whole(const models::ModelOptions& model, ObjectiveKind objective) {
  return model.is_torchscript() && objective != ObjectiveKind::kCausalLm;
}

void settle_targets(data::Dataset& first, data::Dataset* second, ObjectiveKind objective) {
  if (objective == ObjectiveKind::kModuleLoss) {
    settle_own_targets(first, second);
    return;
  }
  for (data::Dataset* rows : {&first, second}) {
    if (rows == nullptr) {
      continue;
    }
    data::require_targets(*rows, std::string("which is what ") + std::string(train::kObjectiveKinds.name(objective)) + " learns");
    if (objective == ObjectiveKind::kRegression) {
      if (rows->raw_labels.kind == data::LabelKind::kNames) {
        data_error(first_origin(*rows), "the target is a name: found \"" + printable(rows->raw_labels.names.front()) +
                                            "\", expected a number. Classes are learnt with \"sequence_classification\".");
      }
      rows->has_classes = false;
    }
  }
}

models::BaseModel load_row_base(const models::ModelOptions& model, const data::Dataset& first, const data::Dataset* second,
                                ObjectiveKind objective) {
  const bool gives_loss = objective == ObjectiveKind::kModuleLoss;
  if (second != nullptr) {
    data::require_same_shape(first, *second);
  }
  models::BaseModel base = torchscript::load_row_model(model, first, gives_loss);
  if (second != nullptr) {  // loading has looked at the first
    torchscript::require_ids(*second, base.model->vocab_size(), model.path.string());
  }
  for (const data::Dataset* rows : {&first, second}) {
    if (rows != nullptr) {
      try_longest(*base.model->row_model(), *rows, base.model->device(), gives_loss);
    }
  }
  return base;
}

data::LabelSet row_labels(const data::Dataset& rows, const nn::Model& model, const std::optional<data::LabelSet>& known) {
  const int64_t count = model.row_model()->num_outputs();
  if (count < 2) {
    model_error("model.path", "the module gives one value of each row: found " + std::to_string(count) +
                                  ", expected the scores of at least 2 classes. Values are learnt with \"regression\"");
  }
  if (rows.raw_labels.kind != data::LabelKind::kNames && rows.raw_labels.kind != data::LabelKind::kIntegers) {
    data_error(first_origin(rows),
               "the target is no class: found a value among the rows, expected numbers without a decimal point from 0 to " +
                   std::to_string(count - 1) + ", or names. Values are learnt with \"regression\".");
  }
  data::LabelSet labels = known                                             ? *known
                          : rows.raw_labels.kind == data::LabelKind::kNames ? data::find_labels(rows, std::nullopt)
                                                                            : data::numbered_labels(count);
  if (labels.num_labels() != count) {
    data_error(first_origin(rows), "the rows have other classes than the module: found " + std::to_string(labels.num_labels()) + " (" +
                                       join(labels.names, ", ", 20) + "), expected " + std::to_string(count) + ", as many as it scores.");
  }
  return labels;
}

}  // namespace lora::app
