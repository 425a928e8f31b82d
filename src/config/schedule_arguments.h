#pragma once
#include "config/table.h"
#include "lora/optim/options.h"

namespace lora::config {

/// training.lr_scheduler_kwargs: the arguments of the schedules, names as in transformers.
const Table<optim::ScheduleOptions>& schedule_table();

/// Reports arguments in `given` that the chosen schedule does not take, and required ones that are missing.
void check_schedule_arguments(const optim::ScheduleOptions& options, double learning_rate, const Json& given, const ConfigPlace& at);

}  // namespace lora::config
