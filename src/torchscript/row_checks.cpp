#include "row_checks.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>

#include "checks.h"
#include "lora/base/error.h"
#include "lora/data/batches.h"

namespace lora::torchscript {

namespace {

using at::Tensor;

constexpr int64_t kTried = 4;     ///< rows
constexpr int64_t kLongest = 32;  ///< tokens of a tried document
constexpr uint64_t kSeed = 0x20c5;

/// The document's last tokens; a row of features as it is.
data::Example cut(const data::Example& whole, int64_t length) {
  const auto size = static_cast<int64_t>(whole.ids.size());
  if (length >= size) {
    return whole;
  }
  const std::vector<int32_t> labels = whole.labels();
  data::Example part({whole.ids.end() - length, whole.ids.end()}, {labels.end() - length, labels.end()});
  part.origin = whole.origin;
  part.target = whole.target;
  part.dense = whole.dense;
  return part.num_supervised() > 0 ? part : whole;
}

/// A row that is not the same row again.
data::Example turned_round(data::Example row) {
  if (row.dense != nullptr) {
    auto dense = std::make_shared<data::DenseRow>(*row.dense);
    std::reverse(dense->features.begin(), dense->features.end());
    row.dense = std::move(dense);
    return row;
  }
  const double target = row.target;
  std::vector<int32_t> labels = row.labels();
  std::reverse(row.ids.begin(), row.ids.end());
  std::reverse(labels.begin(), labels.end());
  row = data::Example(row.ids, labels);
  row.target = target;
  return row;
}

/// Fewer supervised tokens than before, where there are several: so that a mean over tokens is none over rows.
data::Example with_fewer_labels(const data::Example& row) {
  std::vector<int32_t> labels = row.labels();
  for (size_t i = 0; i < labels.size() / 2; ++i) {
    labels[i] = static_cast<int32_t>(nn::kIgnoreLabel);
  }
  data::Example fewer(row.ids, labels);
  fewer.origin = row.origin;
  return fewer.num_supervised() > 0 ? fewer : row;
}

/// Some of the rows, documents of one length; where there are too few, others that are made of them.
data::Dataset tried_rows(const data::Dataset& rows) {
  const auto count = static_cast<int64_t>(rows.examples.size());
  int64_t length = kLongest;
  std::vector<data::Example> chosen;
  for (int64_t i = 0; i < kTried; ++i) {
    const data::Example& row = rows.examples[static_cast<size_t>(count >= kTried ? i * count / kTried : i % count)];
    chosen.push_back(i < count ? row : turned_round(row));
    length = std::min(length, static_cast<int64_t>(row.ids.size()));
  }
  data::Dataset tried;
  tried.has_classes = rows.has_classes;
  for (const data::Example& row : chosen) {
    const data::Example part = cut(row, length);
    const bool has_learnt_tokens = part.dense == nullptr && !part.has_target();
    tried.examples.push_back(has_learnt_tokens && tried.examples.size() % 2 == 1 ? with_fewer_labels(part) : part);
  }
  return tried;
}

/// Numbered by their places, so that what is drawn for a place does not depend on the row that stands there.
nn::TokenBatch batch_of(const data::Dataset& rows, const std::vector<int64_t>& indices, const at::Device device) {
  nn::TokenBatch batch = data::make_batch(rows, indices).to(device);
  for (size_t i = 0; i < batch.sample_ids.size(); ++i) {
    batch.sample_ids[i] = static_cast<int64_t>(i);
  }
  return batch;
}

class WholeRows : public Subject {
 public:
  WholeRows(ScriptRowModel& model, const data::Dataset& rows) : model_(model) {
    samples_.emplace_back(model, batch_of(rows, {0, 1}, model.device()));
    samples_.emplace_back(model, batch_of(rows, {1, 2, 3}, model.device()));
  }

  NetworkModel& model() override { return model_; }
  const std::vector<Sample>& samples() const override { return samples_; }
  Tensor outputs(const nn::Pass& pass) const override { return model_.result(pass); }
  Tensor outputs_of(const c10::IValue& result, const Sample& sample) const override {
    return model_.result_of(result, sample.rectangle.num_documents);
  }

 private:
  ScriptRowModel& model_;
  std::vector<Sample> samples_;
};

/// Counts what linear operations are given and give.
class ElementCount : public nn::InputObserver {
 public:
  void see(const nn::Linear& host, const Tensor& x_TI) override { elements_ += x_TI.size(0) * (host.in_features() + host.out_features()); }
  int64_t elements() const { return elements_; }

 private:
  int64_t elements_ = 0;
};

/// A row of features may become many rows of the network (patches).
int64_t elements_of_place(ScriptRowModel& model, const Sample& sample) {
  ElementCount count;
  const nn::Pass pass{sample.batch, Tensor(), nullptr, &count};
  model.network().run(sample.arguments, pass, {Tensor(), sample.rectangle.num_documents, Tensor(), sample.rectangle.length});
  return count.elements() / std::max<int64_t>(sample.batch.num_tokens(), 1);
}

/// Whether each row's result is its own.
class RowCheck {
 public:
  RowCheck(ScriptRowModel& model, const data::Dataset& rows) : model_(model), rows_(rows) {}

  void run() {
    const auto is_of_one_length = [this](const data::Example& row) { return row.ids.size() == rows_.examples.front().ids.size(); };
    if (!std::all_of(rows_.examples.begin(), rows_.examples.end(), is_of_one_length)) {
      model_.keep_lengths_apart();  // labels stand where they cannot be cut to one: whether padding counts is not known
    }
    if (model_.gives_loss()) {
      find_mean();
    } else {
      check_predictions();
    }
    look_for_padding();  // the last: passes are others from then on
  }

 private:
  Tensor result(const std::vector<int64_t>& indices, bool training = false) const { return result(rows_, indices, training); }

  Tensor result(const data::Dataset& rows, const std::vector<int64_t>& indices, bool training = false) const {
    return result(batch_of(rows, indices, model_.device()), training);
  }

  Tensor result(const nn::TokenBatch& batch, bool training) const {
    return model_.result(training ? nn::training_pass(batch, kSeed, 0) : nn::evaluation_pass(batch)).to(at::kFloat);
  }

  /// A batch's loss times what it is a mean over.
  double loss_sum(const std::vector<int64_t>& indices, nn::LossMean mean, bool training = false) const {
    return loss_sum(rows_, indices, mean, training);
  }

  double loss_sum(const data::Dataset& rows, const std::vector<int64_t>& indices, nn::LossMean mean, bool training = false) const {
    const nn::TokenBatch batch = batch_of(rows, indices, model_.device());
    return result(batch, training).item<double>() * static_cast<double>(nn::loss_count(mean, batch));
  }

  bool differ(double a, double b) const { return !(std::abs(a - b) <= model_.rounding() * (std::abs(a) + std::abs(b)) + 1e-7); }

  bool differ(const Tensor& a, const Tensor& b) const {
    const double size = std::max(a.abs().max().item<double>(), b.abs().max().item<double>());
    return !((a - b).abs().max().item<double>() <= model_.rounding() * size + 1e-7);
  }

  [[noreturn]] void fail(const std::string& form) const {
    model_error(
        model_.network().where(),
        std::string("a row's ") + (model_.gives_loss() ? "loss" : "prediction") + " depends on the other rows of its batch" + form +
            ": expected each row's own. Likely cause: normalisation over the batch (BatchNorm without running statistics, or in its "
            "training form, which model.base_dropout 0 leaves out), or a mean over it");
  }

  void check_predictions() {
    const Tensor together = result({0, 1, 2, 3});
    model_.set_num_outputs(together.size(1));
    if (differ(result({0, 1})[0], result({0, 2})[0])) {
      fail("");
    }
    for (int64_t i = 0; i < kTried; ++i) {
      if (differ(together[i], result({i})[0])) {
        fail("");
      }
    }
    if (differ(result({0, 1}, true)[0], result({0, 2}, true)[0])) {
      fail(" in its training form");
    }
  }

  /// Of the tried rows one by one.
  double sum_of_singles(nn::LossMean mean) const {
    double sum = 0;
    for (int64_t i = 0; i < kTried; ++i) {
      sum += loss_sum({i}, mean);
    }
    return sum;
  }

  bool is_mean_over(nn::LossMean mean) const { return !differ(loss_sum({0, 1, 2, 3}, mean), sum_of_singles(mean)); }

  void find_mean() {
    const auto is_learnt = [](const data::Example& row) { return row.dense == nullptr && !row.has_target(); };
    const bool has_learnt_tokens = std::all_of(rows_.examples.begin(), rows_.examples.end(), is_learnt);
    // Tokens first: where the tried rows have equally many of them, both are so.
    if (has_learnt_tokens && model_.fields().has("labels") && is_mean_over(nn::LossMean::kTokens)) {
      model_.set_loss_mean(nn::LossMean::kTokens);
    } else if (is_mean_over(nn::LossMean::kRows)) {
      model_.set_loss_mean(nn::LossMean::kRows);
    } else {
      fail_mean(has_learnt_tokens);
    }
    const nn::LossMean mean = model_.loss_mean();
    if (differ(loss_sum({0, 1}, mean, true) + loss_sum({2, 3}, mean, true), loss_sum({2, 1}, mean, true) + loss_sum({0, 3}, mean, true))) {
      fail(" in its training form");
    }
  }

  [[noreturn]] void fail_mean(bool has_learnt_tokens) const {
    char text[96];
    std::snprintf(text, sizeof(text), "found %.6g of %d rows, expected %.6g", loss_sum({0, 1, 2, 3}, nn::LossMean::kRows) / kTried,
                  static_cast<int>(kTried), sum_of_singles(nn::LossMean::kRows) / kTried);
    model_error(model_.network().where(), std::string("its loss is no mean over rows") +
                                              (has_learnt_tokens ? " or supervised tokens: " : ": ") + text +
                                              ", the mean of what it gives of each alone. A step must be the same however it is split into "
                                              "batches: let it give a mean, without normalisation over the batch");
  }

  /// A document beside a longer one and alone.
  void look_for_padding() {
    const auto length = static_cast<int64_t>(rows_.examples[1].ids.size());
    if (rows_.examples.front().dense != nullptr || length < 2) {
      return;
    }
    data::Dataset rows = rows_;
    rows.examples[1] = cut(rows.examples[1], std::max<int64_t>(1, length * 2 / 3));
    const bool counts = model_.gives_loss() ? differ(loss_sum(rows, {0, 1}, model_.loss_mean()),
                                                     loss_sum(rows, {0}, model_.loss_mean()) + loss_sum(rows, {1}, model_.loss_mean()))
                                            : differ(result(rows, {0, 1})[1], result(rows, {1})[0]);
    if (counts) {
      model_.keep_lengths_apart();
    }
  }

  ScriptRowModel& model_;
  const data::Dataset& rows_;
};

}  // namespace

void check_rows(ScriptRowModel& model, const data::Dataset& rows) {
  const data::Dataset tried = tried_rows(rows);
  WholeRows subject(model, tried);
  check_adapters(subject);
  const at::NoGradGuard no_grad;
  model.set_elements_of_place(elements_of_place(model, subject.samples().front()));
  RowCheck(model, tried).run();
}

}  // namespace lora::torchscript
