#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "lora/base/error.h"
#include "torchscript/row_check.h"
#include "torchscript/tried_rows.h"

namespace lora::torchscript {

namespace {

using nn::LossMean;

constexpr std::array<LossMean, 2> kMeans{LossMean::kTokens, LossMean::kRows};  // tokens first, in case both fit

class LossCheck : public RowCheck {
 public:
  using RowCheck::RowCheck;

 private:
  void check() override {
    has_supervised_tokens_ = std::all_of(rows_.examples.begin(), rows_.examples.end(), is_supervised);
    for (int64_t i = 0; i < count_; ++i) {
      twice_.push_back(loss({i, i}));
    }
    const auto [low, high] = std::minmax_element(twice_.begin(), twice_.end());
    if (*high - *low <= bound(0, std::abs(*high))) {
      warn_of_same_results();
    }
    model_.set_loss_mean(find_mean());
    require_mean_of_any_size();
    for (int64_t i = 0; i + 3 < count_; i += 4) {
      require_own_in_training(i);
    }
    require_mean_in_training();
  }

  double loss(const Indices& indices, bool training = false) const { return result(batch(indices), training).item<double>(); }

  double count(const Indices& indices, LossMean mean) const { return static_cast<double>(nn::loss_count(mean, batch(indices))); }

  /// A batch's loss times the number of rows or tokens that it is a mean over.
  double loss_sum(const Indices& indices, bool training = false) const {
    return loss(indices, training) * count(indices, model_.loss_mean());
  }

  /// The loss of two rows if the loss is that mean.
  double mean_of(const Indices& pair, LossMean mean) const {
    const double first = count({pair[0]}, mean), second = count({pair[1]}, mean);
    return (first * twice_[pair[0]] + second * twice_[pair[1]]) / (first + second);
  }

  /// Allows for the rounding of the loss itself, in its sums and quotients.
  double bound(double spread, double size) const { return slack_.of_one_size().of_spread * spread + 4 * slack_.of_size * size + 1e-7; }

  double bound(const Indices& pair) const {
    const double first = twice_[pair[0]], second = twice_[pair[1]];
    return bound(std::abs(first - second), std::max(std::abs(first), std::abs(second)));
  }

  /// Each row with the one whose loss differs most from its own, as this shows best if their weights are not those of a mean.
  std::vector<Indices> pairs() const {
    const auto [low, high] = std::minmax_element(twice_.begin(), twice_.end());
    std::vector<Indices> all;
    for (int64_t i = 0; i < count_; ++i) {
      all.push_back({i, (twice_[i] - *low > *high - twice_[i] ? low : high) - twice_.begin()});
    }
    return all;
  }

  /// The kind of mean that fits pairs of rows better. Throws model Error if a pair does not fit it.
  LossMean find_mean() const {
    struct Misfit {
      double sum = 0;
      std::optional<Indices> pair;
    };
    std::array<Misfit, kMeans.size()> misfits;
    for (const Indices& pair : pairs()) {
      const double found = loss(pair);
      for (size_t m = 0; m < kMeans.size(); ++m) {
        const double misfit = std::abs(found - mean_of(pair, kMeans[m]));
        misfits[m].sum += misfit;
        misfits[m].pair = misfit <= bound(pair) ? misfits[m].pair : pair;
      }
    }
    const bool can_be_tokens = has_supervised_tokens_ && model_.fields().has("labels");
    const size_t nearer = can_be_tokens && misfits[0].sum <= misfits[1].sum ? 0 : 1;
    if (const auto& pair = misfits[nearer].pair) {
      fail_mean(loss(*pair), mean_of(*pair, kMeans[nearer]), 2);
    }
    return kMeans[nearer];
  }

  void require_mean_of_any_size() const {
    const double together = loss_sum({0, 1, 2, 3}), alone = loss_sum({0}) + loss_sum({1}) + loss_sum({2}) + loss_sum({3});
    if (differ(together, alone)) {
      const double number = count({0, 1, 2, 3}, model_.loss_mean());
      fail_mean(together / number, alone / number, 4);
    }
  }

  /// Compares four rows in two pairs with the same rows in other pairs.
  void require_own_in_training(int64_t first) const {
    const double a = loss_sum({first, first + 1}, true), b = loss_sum({first + 2, first + 3}, true);
    const double c = loss_sum({first + 2, first + 1}, true), d = loss_sum({first, first + 3}, true);
    const auto [low, high] = std::minmax({a, b, c, d});
    if (!(std::abs(a + b - c - d) <= bound(high - low, std::abs(a) + std::abs(b)))) {
      fail(" in training mode");
    }
  }

  /// If every row draws the same numbers, randomness by row cancels out; with other randomness the loss is not a sum over rows.
  void require_mean_in_training() const {
    const auto drawn_alike = [this](const Indices& indices) {
      nn::Batch alike = batch(indices);
      std::fill(alike.layout.sample_ids.begin(), alike.layout.sample_ids.end(), 0);
      return result(alike, true).item<double>();
    };
    const double first = count({0, 1}, model_.loss_mean()), second = count({2, 3}, model_.loss_mean());
    const double found = drawn_alike({0, 1, 2, 3});
    const double expected = (drawn_alike({0, 1}) * first + drawn_alike({2, 3}) * second) / (first + second);
    if (std::abs(found - expected) > 0.3 * std::max(std::abs(found), std::abs(expected)) + 1e-7) {
      fail_mean(found, expected, 4, " in training mode");
    }
    if (differ(found, expected)) {
      warn_of_draws();
    }
  }

  bool sees_length(const data::Dataset& rows) const override {
    const auto sum = [&](const Indices& indices) {
      const nn::Batch batch = batch_of(rows, indices, model_.device());
      return result(batch).item<double>() * static_cast<double>(nn::loss_count(model_.loss_mean(), batch));
    };
    return differ(sum({0, 1}), sum({0}) + sum({1}));
  }

  /// Whether results of batches of different sizes differ.
  bool differ(double a, double b) const { return !(std::abs(a - b) <= model_.rounding() * (std::abs(a) + std::abs(b)) + 1e-7); }

  [[noreturn]] void fail_mean(double found, double expected, int num_rows, const std::string& form = "") const {
    char text[96];
    std::snprintf(text, sizeof(text), "found %.6g of %d rows, expected %.6g", found, num_rows, expected);
    model_error(model_.network().where(), "its loss" + form + " is not a mean over rows" +
                                              (has_supervised_tokens_ ? " or supervised tokens: " : ": ") + text +
                                              ", the mean of the losses of single rows. A step must be the same however it is split into "
                                              "batches: return a mean, without class weights or normalisation over the batch.");
  }

  bool has_supervised_tokens_ = false;
  std::vector<double> twice_;  ///< for each tried row, the loss of a batch that contains it twice
};

}  // namespace

std::unique_ptr<RowCheck> make_loss_check(ScriptRowModel& model, const data::Dataset& rows) {
  return std::make_unique<LossCheck>(model, rows);
}

}  // namespace lora::torchscript
