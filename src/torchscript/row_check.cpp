#include "row_check.h"

#include <ATen/ATen.h>

#include "checks.h"
#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/data/batches.h"
#include "tried_rows.h"

namespace lora::torchscript {

namespace {

using at::Tensor;

constexpr uint64_t kSeed = 0x20c5;

Slack slack_of(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? Slack{0.05, 0x1p-8} : dtype == at::kHalf ? Slack{0.02, 0x1p-11} : Slack{1e-3, 1e-6};
}

}  // namespace

nn::TokenBatch batch_of(const data::Dataset& rows, const std::vector<int64_t>& indices, at::Device device) {
  nn::TokenBatch batch = data::make_batch(rows, indices).to(device);
  for (size_t i = 0; i < batch.sample_ids.size(); ++i) {
    batch.sample_ids[i] = static_cast<int64_t>(i);
  }
  return batch;
}

RowCheck::RowCheck(ScriptRowModel& model, const data::Dataset& rows)
    : model_(model), rows_(rows), count_(static_cast<int64_t>(rows.examples.size())), slack_(slack_of(model.dtype())) {}

void RowCheck::run() {
  check();
  if (rows_.examples.front().dense != nullptr) {
    return;
  }
  const std::optional<data::Dataset> rows = rows_of_two_lengths();
  if (!rows || sees_padding(*rows) || sees_length(*rows)) {
    model_.keep_lengths_apart();  // the last: passes are others from then on
  }
}

Tensor RowCheck::result(const nn::TokenBatch& batch, bool training) const {
  return model_.result(training ? nn::training_pass(batch, kSeed, 0) : nn::evaluation_pass(batch)).to(at::kFloat);
}

void RowCheck::fail(const std::string& form) const {
  model_error(model_.network().where(),
              std::string("a row's ") + (model_.gives_loss() ? "loss" : "prediction") + " depends on the other rows of its batch" + form +
                  ": expected each row's own. Likely cause: normalisation over the batch (BatchNorm without running statistics, or in its "
                  "training form, which model.base_dropout 0 leaves out), or a mean over it");
}

void RowCheck::warn_of_draws() const {
  log::warn(
      "[" + model_.network().where() +
      "] in its training form a row's result depends on how many rows its batch has. Likely cause: "
      "dropout that is not drawn by row (within torch's fused attention, or where rows cannot be told apart). A step that is split in "
      "another way is another step then; model.base_dropout 0 leaves it out");
}

void RowCheck::warn_of_same_results() const {
  log::warn("[" + model_.network().where() +
            "] gives the same for every row that it is tried on: whether a row's result is its own could not be seen. Likely cause: a last "
            "layer of zeros");
}

/// Every other document is shorter, with a token that is learnt; none where there is no shorter one: padding was not tried then.
std::optional<data::Dataset> RowCheck::rows_of_two_lengths() const {
  const int64_t shorter = static_cast<int64_t>(rows_.examples.front().ids.size()) * 2 / 3;
  data::Dataset rows = rows_;
  for (size_t i = 1; i < rows.examples.size(); i += 2) {
    if (shorter < (is_learnt(rows.examples[i]) ? 2 : 1)) {
      return std::nullopt;
    }
    rows.examples[i] = fitted(rows.examples[i], shorter);
  }
  return rows;
}

/// Whether other ids behind the documents change what it gives.
bool RowCheck::sees_padding(const data::Dataset& rows) const {
  const Sample sample(model_, batch_of(rows, {0, 1, 2, 3}, model_.device()));
  const int64_t other = model_.num_ids() > 0 ? model_.num_ids() - 1 : sample.batch.ids_T.max().item<int64_t>();
  const auto with_padding = [&](int64_t id) {
    const nn::Pass pass = nn::evaluation_pass(sample.batch);
    const Rows places{Tensor(), sample.rectangle.num_documents, Tensor(), sample.rectangle.length};
    return model_.result_of(model_.network().run(padded_arguments(model_, sample, id), pass, places), sample.rectangle.num_documents);
  };
  return !same_bits(with_padding(0), with_padding(other));
}

}  // namespace lora::torchscript
