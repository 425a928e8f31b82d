#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace lora::train {

using Metrics = std::vector<std::pair<std::string, double>>;

/// Accuracy, F1 (of class 1 where there are two, else the mean over the classes that occur, as scikit-learn's "macro") and Matthews'
/// correlation (Gorodkin 2004), as scikit-learn computes them. A prediction that is no number has no class: then all of them are NaN.
Metrics class_metrics(const std::vector<double>& predicted, const std::vector<double>& actual, int64_t num_classes);

/// Pearson's and Spearman's correlation, as scipy computes them: NaN where one side is constant, or a prediction is not finite.
Metrics value_metrics(const std::vector<double>& predicted, const std::vector<double>& actual);

}  // namespace lora::train
