#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace lora::train {

using Metrics = std::vector<std::pair<std::string, double>>;

/// Accuracy, F1 (of class 1 if there are two, otherwise the mean over the classes that occur, as scikit-learn's "macro") and Matthews
/// correlation (Gorodkin 2004), as scikit-learn computes them. If a prediction is not a number, all of them are NaN.
Metrics class_metrics(const std::vector<double>& predicted, const std::vector<double>& actual, int64_t num_classes);

/// Pearson and Spearman correlation, as scipy computes them: NaN if one side is constant or a prediction is not finite.
Metrics value_metrics(const std::vector<double>& predicted, const std::vector<double>& actual);

}  // namespace lora::train
