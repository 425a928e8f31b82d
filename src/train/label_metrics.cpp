#include "train/label_metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace lora::train {

namespace {

/// How often each class was predicted, was true, and was both.
struct Counts {
  std::vector<double> predicted, actual, both;
};

Counts count(const std::vector<double>& predicted, const std::vector<double>& actual, int64_t num_classes) {
  const auto size = static_cast<size_t>(num_classes);
  Counts counts{std::vector<double>(size), std::vector<double>(size), std::vector<double>(size)};
  for (size_t i = 0; i < actual.size(); ++i) {
    const auto found = static_cast<size_t>(predicted[i]), truth = static_cast<size_t>(actual[i]);
    ++counts.predicted[found];
    ++counts.actual[truth];
    counts.both[truth] += found == truth ? 1 : 0;
  }
  return counts;
}

double f1_of_class(const Counts& counts, size_t label) {
  const double sum = counts.predicted[label] + counts.actual[label];
  return sum > 0 ? 2 * counts.both[label] / sum : 0.0;
}

double f1(const Counts& counts) {
  if (counts.actual.size() == 2) {
    return f1_of_class(counts, 1);
  }
  double sum = 0, occurring = 0;
  for (size_t label = 0; label < counts.actual.size(); ++label) {
    sum += f1_of_class(counts, label);
    occurring += counts.predicted[label] + counts.actual[label] > 0 ? 1 : 0;
  }
  return sum / occurring;
}

double matthews(const Counts& counts) {
  const auto dot = [](const std::vector<double>& a, const std::vector<double>& b) {
    return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
  };
  const auto sum = [](const std::vector<double>& a) { return std::accumulate(a.begin(), a.end(), 0.0); };
  const double all = sum(counts.actual);
  const double covariance = sum(counts.both) * all - dot(counts.predicted, counts.actual);
  const double spread = (all * all - dot(counts.predicted, counts.predicted)) * (all * all - dot(counts.actual, counts.actual));
  return spread > 0 ? covariance / std::sqrt(spread) : 0.0;
}

double pearson(const std::vector<double>& a, const std::vector<double>& b) {
  const double size = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / size, mean_b = std::accumulate(b.begin(), b.end(), 0.0) / size;
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return aa > 0 && bb > 0 ? std::clamp(ab / std::sqrt(aa * bb), -1.0, 1.0) : std::numeric_limits<double>::quiet_NaN();
}

/// Ranks from 1; equal values share the mean of their ranks.
std::vector<double> ranks(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> result(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) {
      ++end;
    }
    for (size_t i = begin; i < end; ++i) {
      result[order[i]] = static_cast<double>(begin + 1 + end) / 2;
    }
    begin = end;
  }
  return result;
}

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

bool are_finite(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); });
}

}  // namespace

Metrics class_metrics(const std::vector<double>& predicted, const std::vector<double>& actual, int64_t num_classes) {
  if (!are_finite(predicted)) {
    return {{"eval_accuracy", kNone}, {"eval_f1", kNone}, {"eval_matthews_correlation", kNone}};
  }
  const Counts counts = count(predicted, actual, num_classes);
  const double right = std::accumulate(counts.both.begin(), counts.both.end(), 0.0);
  return {{"eval_accuracy", right / static_cast<double>(actual.size())},
          {"eval_f1", f1(counts)},
          {"eval_matthews_correlation", matthews(counts)}};
}

Metrics value_metrics(const std::vector<double>& predicted, const std::vector<double>& actual) {
  if (!are_finite(predicted)) {
    return {{"eval_pearson", kNone}, {"eval_spearmanr", kNone}};
  }
  return {{"eval_pearson", pearson(predicted, actual)}, {"eval_spearmanr", pearson(ranks(predicted), ranks(actual))}};
}

}  // namespace lora::train
