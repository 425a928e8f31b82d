#pragma once
#include "app/run_series.h"
#include "lora/config/run_config.h"

namespace lora::app {

/// Throws config Error if the runs of a sweep cannot be compared before their end: they need an evaluation.
void require_comparable(const config::RunList& list);

/// Trains the runs of a sweep one after the other, prints their table and writes it to sweep.md, sweep.csv and sweep.json in the folder
/// above theirs. A run that diverges is listed as such and the others continue. With `halving`, all runs are trained for a short time, the
/// better half of them for twice that, and so on, until one is left to be trained to its end (successive halving: Jamieson and Talwalkar
/// 2016). Runs are compared by metric_for_best_model. Pauses do not change a run. A repeated sweep continues where it was stopped.
void train_sweep(const config::RunList& list, RunSeries& series, bool halving);

}  // namespace lora::app
