#include "app/sweep.h"

#include <algorithm>
#include <cmath>

#include "app/sweep_table.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/log.h"
#include "lora/base/terminal.h"
#include "lora/base/text.h"
#include "lora/train/objectives.h"

namespace lora::app {

namespace {

using config::RunList;

const std::string& metric_of(const RunList& list) {
  return list.runs.front().training.metric_for_best_model;
}

std::vector<SweepRow> sweep_rows(const RunList& list) {
  std::vector<SweepRow> rows;
  for (size_t i = 0; i < list.runs.size(); ++i) {
    rows.push_back(read_sweep_row(list, i));
  }
  return rows;
}

void write_tables(const RunList& list) {
  const std::filesystem::path folder = list.runs.front().output_dir.parent_path();
  const std::vector<SweepRow> rows = sweep_rows(list);
  write_file_atomically(folder / "sweep.md", sweep_markdown(rows, metric_of(list)));
  write_file_atomically(folder / "sweep.csv", sweep_csv(rows, metric_of(list)));
  write_file_atomically(folder / "sweep.json", sweep_json(rows, metric_of(list)).dump(2) + "\n");
}

/// Trains one run; whether it has not diverged. The tables follow each run, so that they are there if the sweep is stopped.
bool train_one(const RunList& list, RunSeries& series, size_t index, std::optional<int64_t> pause_after) {
  bool sound = true;
  try {
    series.train(index, pause_after);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kDiverged) {
      throw;
    }
    log::warn(error.what());
    log::info("The sweep continues without this run");
    sound = false;
  }
  write_tables(list);
  return sound;
}

/// The steps after which the runs are compared: with n runs left at first and half as many each time, so that the last one is left after
/// half of its steps.
std::vector<int64_t> rungs(size_t runs, int64_t total_steps) {
  const int halvings = static_cast<int>(std::ceil(std::log2(static_cast<double>(runs))));
  std::vector<int64_t> steps;
  for (int i = halvings; i > 0; --i) {
    const auto step = static_cast<int64_t>(std::ceil(static_cast<double>(total_steps) / std::exp2(i)));
    if (step < total_steps && (steps.empty() || step > steps.back())) {
      steps.push_back(step);
    }
  }
  return steps;
}

/// The better half of the runs, rounded up, by their metric after the step; one without a value is not among them.
std::vector<size_t> better_half(const RunList& list, const std::vector<size_t>& runs, int64_t step) {
  std::vector<std::pair<double, size_t>> ranked;
  const double sign = train::greater_is_better(metric_of(list)) ? -1 : 1;
  for (const size_t run : runs) {
    if (const auto metric = metric_after(list.runs[run], step)) {
      ranked.emplace_back(sign * *metric, run);
    }
  }
  std::sort(ranked.begin(), ranked.end());
  ranked.resize(std::min(ranked.size(), (runs.size() + 1) / 2));
  std::vector<size_t> kept;
  std::vector<std::string> names;
  for (const auto& [value, run] : ranked) {
    kept.push_back(run);
    names.push_back(list.runs[run].name);
  }
  log::info("After step " + std::to_string(step) + " of the sweep, " + std::to_string(kept.size()) + " of " +
            std::to_string(runs.size()) + " runs continue: " + join(names));
  return kept;
}

/// Successive halving: what is left to be trained to its end.
std::vector<size_t> halved(const RunList& list, RunSeries& series) {
  std::vector<size_t> left(list.runs.size());
  for (size_t i = 0; i < left.size(); ++i) {
    left[i] = i;
  }
  for (const int64_t step : rungs(left.size(), series.total_steps(0))) {
    for (const size_t run : left) {
      if (!metric_after(list.runs[run], step)) {
        train_one(list, series, run, step);
      }
    }
    left = better_half(list, left, step);
  }
  return left;
}

}  // namespace

void require_comparable(const RunList& list) {
  if (list.sweep.empty()) {
    config_error("--sweep-halving", "needs a sweep: found no --sweep");
  }
  for (const config::RunConfig& config : list.runs) {
    if (config.training.eval_strategy == train::Strategy::kNo || (config.data.eval.empty() && config.data.eval_fraction == 0)) {
      config_error("--sweep-halving",
                   "compares runs by " + config.training.metric_for_best_model +
                       ": found a run without evaluation, expected data.eval or data.eval_fraction, and eval_strategy other than \"no\"");
    }
  }
}

void train_sweep(const RunList& list, RunSeries& series, bool halving) {
  std::vector<size_t> left(list.runs.size());
  for (size_t i = 0; i < left.size(); ++i) {
    left[i] = i;
  }
  if (halving) {
    left = halved(list, series);
  }
  for (const size_t run : left) {
    train_one(list, series, run, std::nullopt);
  }
  const std::vector<SweepRow> rows = sweep_rows(list);
  terminal::print(sweep_markdown(rows, metric_of(list)));
  if (!best_row(rows, metric_of(list))) {
    log::info("No run is marked as the best: there is no evaluation. Set data.eval or data.eval_fraction.");
  }
  log::info("The table is in " + (list.runs.front().output_dir.parent_path() / "sweep.md").string() + ", sweep.csv and sweep.json");
}

}  // namespace lora::app
