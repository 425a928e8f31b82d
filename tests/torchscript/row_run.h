#pragma once
#include <limits>

#include "lora/nn/row_model.h"
#include "lora/train/objectives.h"
#include "script_run.h"

namespace lora::test {

/// A case of tests/data/torchscript/row_runs: a network that takes whole rows.
struct RowRun : ModuleRun {
  explicit RowRun(const std::string& name, const std::vector<std::string>& overrides = {})
      : ModuleRun(kScripts / "row_runs" / name, overrides) {
    using train::ObjectiveKind;
    const ObjectiveKind kind = config.training.objective;
    load_data(std::numeric_limits<int32_t>::max());
    base = torchscript::load_row_model(config.model, train_set, kind == ObjectiveKind::kModuleLoss);
    if (kind == ObjectiveKind::kSequenceClassification) {
      labels = train_set.labels.kind == data::LabelKind::kNames ? data::find_labels(train_set, std::nullopt)
                                                                    : data::numbered_labels(network().num_outputs());
      train_set = data::resolve_labels(std::move(train_set), *labels);
      eval_set = data::resolve_labels(std::move(eval_set), *labels);
    }
    attach();
    set_objective(train::objective_entry(kind).make({*base.model, train_set, &eval_set, labels ? &*labels : nullptr, eval_batches(3)}));
  }

  const nn::RowModel& network() const { return *base.model->rows(); }

  std::optional<data::LabelSet> labels;
};

}  // namespace lora::test
