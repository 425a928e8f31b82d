#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lora/config/run_config.h"

namespace lora::app {

/// What the files of a run say of it.
struct SweepRow {
  std::string name;                   ///< of its folder
  std::vector<std::string> settings;  ///< "key=value" of each swept key
  std::string status = "not started";
  int64_t steps = 0;
  std::optional<int64_t> trained_parameters;
  std::optional<double> loss;    ///< of the last logged step
  std::optional<double> metric;  ///< metric_for_best_model of the result, or of the last evaluation
  std::optional<double> tokens_per_second;
};

/// Reads run.json and metrics.jsonl of run `index`. What is missing stays empty.
SweepRow read_sweep_row(const config::RunList& list, size_t index);

/// The value of a metric after this step in a run's metrics.jsonl; none if it was not evaluated there.
std::optional<double> metric_after(const config::RunConfig& config, int64_t step);

/// The row with the best metric; none: no row has one.
std::optional<size_t> best_row(const std::vector<SweepRow>& rows, const std::string& metric);

/// The rows as a table in Markdown, as CSV and as JSON; the best row is marked.
std::string sweep_markdown(const std::vector<SweepRow>& rows, const std::string& metric);
std::string sweep_csv(const std::vector<SweepRow>& rows, const std::string& metric);
Json sweep_json(const std::vector<SweepRow>& rows, const std::string& metric);

}  // namespace lora::app
