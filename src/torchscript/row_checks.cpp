#include "torchscript/row_checks.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "torchscript/checks.h"
#include "torchscript/row_check.h"
#include "torchscript/tried_rows.h"

namespace lora::torchscript {

namespace {

using at::Tensor;

constexpr int64_t kTried = 8;          ///< rows
constexpr int64_t kTriedClasses = 16;  ///< rows for a loss over classes, each of which may have its own weight
constexpr int64_t kLongest = 32;       ///< tokens per tried document

class WholeRows : public Subject {
 public:
  WholeRows(ScriptRowModel& model, const data::Dataset& rows) : model_(model) {
    samples_.emplace_back(model, batch_of(rows, {0, 1}, model.device()));
    samples_.emplace_back(model, batch_of(rows, {0, 1, 2, 3, 4, 5, 6, 7}, model.device()));
  }

  NetworkModel& model() override { return model_; }
  const std::vector<Sample>& samples() const override { return samples_; }
  const Sample& sample_for_adapters() const override { return samples_.back(); }  // rows have few numbers, so that more of them are needed
  Tensor outputs(const nn::Pass& pass) const override { return model_.result(pass); }
  Tensor outputs_of(const c10::IValue& result, const Sample& sample) const override {
    return model_.result_of(result, sample.rectangle.num_documents);
  }

 private:
  ScriptRowModel& model_;
  std::vector<Sample> samples_;
};

/// Counts the elements of the inputs and outputs of linear operations.
class ElementCount : public nn::InputObserver {
 public:
  void see(const nn::Linear& host, const Tensor& x_TI) override { elements_ += x_TI.size(0) * (host.in_features() + host.out_features()); }
  int64_t elements() const { return elements_; }

 private:
  int64_t elements_ = 0;
};

/// Elements per token or row of features, which may become many rows of the network (patches).
int64_t elements_of_place(ScriptRowModel& model, const Sample& sample) {
  ElementCount count;
  nn::Pass pass = nn::evaluation_pass(sample.batch);
  pass.observer = &count;
  model.network().run(sample.arguments, pass, {Tensor(), sample.rectangle.num_documents, Tensor(), sample.rectangle.length});
  return count.elements() / std::max<int64_t>(sample.batch.num_tokens(), 1);
}

bool has_result(const ScriptRowModel& model, const nn::Batch& row) {
  try {
    return at::isfinite(model.result(nn::evaluation_pass(row))).all().item<bool>();
  } catch (const Error&) {
    return false;
  }
}

/// The rows on which the module fails when they are alone; empty if it fails on all.
std::string failing_rows(const ScriptRowModel& model, const data::Dataset& rows) {
  std::vector<std::string> origins;
  for (size_t i = 0; i < rows.examples.size(); ++i) {
    if (!has_result(model, batch_of(rows, {static_cast<int64_t>(i)}, model.device()))) {
      origins.push_back(rows.examples[i].origin.text());
    }
  }
  return origins.size() == rows.examples.size() ? "" : join(origins, ", ", 4);
}

void require_sound_tried_rows(ScriptRowModel& model, const data::Dataset& rows) {
  WholeRows subject(model, rows);
  require_working_adapters(subject);
  const at::NoGradGuard no_grad;
  model.set_elements_of_place(elements_of_place(model, subject.samples().front()));
  (model.gives_loss() ? make_loss_check(model, rows) : make_prediction_check(model, rows))->run();
}

}  // namespace

void require_sound_rows(ScriptRowModel& model, const data::Dataset& rows, int64_t longest) {
  const int64_t count = model.gives_loss() && rows.has_classes() ? kTriedClasses : kTried;
  const data::Dataset tried = tried_rows(rows, {count, std::min(longest, kLongest), model.num_ids()});
  try {
    require_sound_tried_rows(model, tried);
  } catch (const Error& error) {
    const at::NoGradGuard no_grad;
    const std::string failing = failing_rows(model, tried);
    if (error.kind() != ErrorKind::kModel || failing.empty()) {
      throw;
    }
    throw Error(error.kind(), std::string(error.what()) + " (given " + failing + ")");
  }
}

}  // namespace lora::torchscript
