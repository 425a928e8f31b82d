#pragma once
#include "config/table.h"
#include "lora/optim/options.h"

namespace lora::config {

/// training.lr_scheduler_kwargs: the arguments of the schedules, names as in transformers.
const Table<optim::ScheduleOptions>& schedule_table();

/// Says which of the arguments `given` the chosen schedule does not take, and which it lacks.
void check_schedule_arguments(const optim::ScheduleOptions& options, double learning_rate, const Json& given, const Place& at);

}  // namespace lora::config
