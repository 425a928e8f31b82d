#include "torchscript/row_check.h"

#include <ATen/ATen.h>

#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/data/batches.h"
#include "torchscript/checks.h"
#include "torchscript/tried_rows.h"

namespace lora::torchscript {

namespace {

using at::Tensor;

constexpr uint64_t kRowCheckSeed = 0x20c5;

Slack slack_of(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? Slack{0.05, 0x1p-8} : dtype == at::kHalf ? Slack{0.02, 0x1p-11} : Slack{1e-3, 1e-6};
}

}  // namespace

nn::Batch batch_of(const data::Dataset& rows, const std::vector<int64_t>& indices, at::Device device) {
  nn::Batch batch = data::make_batch(rows, indices).to(device);
  for (size_t i = 0; i < batch.layout.sample_ids.size(); ++i) {
    batch.layout.sample_ids[i] = static_cast<int64_t>(i);
  }
  return batch;
}

RowCheck::RowCheck(ScriptRowModel& model, const data::Dataset& rows)
    : model_(model), rows_(rows), count_(static_cast<int64_t>(rows.examples.size())), slack_(slack_of(model.dtype())) {}

void RowCheck::run() {
  check();
  if (rows_.examples.front().features() != nullptr) {
    return;
  }
  const std::optional<data::Dataset> rows = rows_of_two_lengths();
  if (!rows || sees_padding(*rows) || sees_length(*rows)) {
    model_.keep_lengths_apart();  // last, because it changes later passes
  }
}

Tensor RowCheck::result(const nn::Batch& batch, bool training) const {
  return model_.result(training ? nn::training_pass(batch, kRowCheckSeed, 0) : nn::evaluation_pass(batch)).to(at::kFloat);
}

void RowCheck::fail(const std::string& form) const {
  model_error(model_.network().where(),
              std::string("a row's ") + (model_.gives_loss() ? "loss" : "prediction") + " depends on the other rows of its batch" + form +
                  ". Likely cause: normalisation over the batch (BatchNorm without running statistics, or in training mode, which "
                  "model.base_dropout 0 avoids), or a mean over the batch.");
}

void RowCheck::warn_of_draws() const {
  log::warn(
      "[" + model_.network().where() +
      "] in training mode the result of a row depends on the size of its batch. Likely cause: dropout that is not drawn by row (within "
      "torch's fused attention, or where rows cannot be identified). Steps then depend on how they are split into batches; "
      "model.base_dropout 0 avoids this.");
}

void RowCheck::warn_of_same_results() const {
  log::warn("[" + model_.network().where() +
            "] returns the same for every row that was tried, so that the independence of rows could not be checked. Likely cause: a last "
            "layer of zeros.");
}

/// Rows in which every other document is shorter and still has a supervised token; none, so that padding is not tried, if no document
/// is.
std::optional<data::Dataset> RowCheck::rows_of_two_lengths() const {
  const int64_t shorter = rows_.examples.front().num_tokens() * 2 / 3;
  data::Dataset rows = rows_;
  for (size_t i = 1; i < rows.examples.size(); i += 2) {
    if (shorter < (is_supervised(rows.examples[i]) ? 2 : 1)) {
      return std::nullopt;
    }
    rows.examples[i] = fitted(rows.examples[i], shorter);
  }
  return rows;
}

/// Whether other ids as padding after the documents change the result.
bool RowCheck::sees_padding(const data::Dataset& rows) const {
  const Sample sample(model_, batch_of(rows, {0, 1, 2, 3}, model_.device()));
  const int64_t other = model_.num_ids() > 0 ? model_.num_ids() - 1 : sample.batch.tokens().ids_T.max().item<int64_t>();
  const auto with_padding = [&](int64_t id) {
    const nn::Pass pass = nn::evaluation_pass(sample.batch);
    const PassRows places{Tensor(), sample.rectangle.num_documents, Tensor(), sample.rectangle.length};
    return model_.result_of(model_.network().run(padded_arguments(model_, sample, id), pass, places), sample.rectangle.num_documents);
  };
  return !same_bits(with_padding(0), with_padding(other));
}

}  // namespace lora::torchscript
