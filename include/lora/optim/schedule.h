#pragma once
#include "lora/optim/options.h"

namespace lora::optim {

/// Factor of `learning_rate` for the optimiser step `step` (from 0). `learning_rate` itself only matters for polynomial's lr_end.
/// Throws config Error for options that contradict each other.
double schedule_factor(const ScheduleOptions& options, double learning_rate, int64_t step);

/// Throws config Error if the options, with their steps filled in, cannot give a schedule.
void require_valid_schedule(const ScheduleOptions& options, double learning_rate);

}  // namespace lora::optim
