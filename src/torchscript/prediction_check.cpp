// Legend: M compared rows, K outputs per row.
#include <ATen/ATen.h>

#include <numeric>

#include "torchscript/row_check.h"

namespace lora::torchscript {

namespace {

using at::Tensor;

class PredictionCheck : public RowCheck {
 public:
  using RowCheck::RowCheck;

 private:
  void check() override {
    Indices all(static_cast<size_t>(count_));
    std::iota(all.begin(), all.end(), 0);
    together_MK_ = predict(rows_, all);
    model_.set_num_outputs(together_MK_.size(1));
    if (together_MK_.eq(together_MK_[0]).all().item<bool>()) {
      warn_of_same_results();
    }
    if (sees_others(false) || differ(together_MK_, alone(rows_, all), slack_)) {
      fail("");
    }
    if (sees_others(true)) {
      fail(" in training mode");
    }
    if (differ(predict(rows_, {0, 1}, true), predict(rows_, {0, 1, 2}, true).slice(0, 0, 2), slack_)) {
      warn_of_draws();
    }
  }

  Tensor predict(const data::Dataset& rows, const Indices& indices, bool training = false) const {
    return result(batch_of(rows, indices, model_.device()), training);
  }

  Tensor alone(const data::Dataset& rows, const Indices& indices) const {
    std::vector<Tensor> each;
    for (const int64_t i : indices) {
      each.push_back(predict(rows, {i}));
    }
    return at::cat(each);
  }

  /// Compares rows in pairs before and after the other row of the pair is replaced.
  bool sees_others(bool training) const {
    std::vector<Tensor> before, after;
    for (int64_t i = 0; i < count_; i += 2) {
      const int64_t other = (i + 2) % count_;
      before.push_back(predict(rows_, {i, i + 1}, training));
      after.insert(after.end(), {predict(rows_, {i, other}, training)[0], predict(rows_, {other, i + 1}, training)[1]});
    }
    return differ(at::cat(before), at::stack(after), slack_.of_one_size());
  }

  bool sees_length(const data::Dataset& rows) const override {
    const Indices some{0, 1, 2, 3};
    return differ(predict(rows, some), alone(rows, some), slack_);
  }

  /// Compares output by output, because one may be far from 0 and another near.
  bool differ(const Tensor& a_MK, const Tensor& b_MK, const Slack& slack) const {
    const Tensor spread_K = (together_MK_ - together_MK_.mean(0)).abs().mean(0), size_K = together_MK_.abs().mean(0);
    const Tensor bound_K = spread_K * slack.of_spread + size_K * slack.of_size + 1e-7;
    return !(a_MK - b_MK).abs().mean(0).le(bound_K).all().item<bool>();
  }

  Tensor together_MK_;  ///< predictions for all tried rows in one batch
};

}  // namespace

std::unique_ptr<RowCheck> make_prediction_check(ScriptRowModel& model, const data::Dataset& rows) {
  return std::make_unique<PredictionCheck>(model, rows);
}

}  // namespace lora::torchscript
