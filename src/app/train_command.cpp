#include "lora/app/train_command.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "eva_pass.h"
#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/nn/device.h"
#include "lora/optim/schedule.h"
#include "memory_plan.h"
#include "preview.h"
#include "run_folder.h"
#include "run_parts.h"
#include "summary.h"
#include "training_run.h"

namespace lora::app {

namespace {

using config::RunConfig;

int64_t longest_batch(const RunParts& parts) {
  int64_t longest = 0;
  for (const train::MicroBatch& batch : parts.objective->plan_epoch(0)) {
    for (const train::MicroBatch& part : parts.objective->parts(batch)) {
      longest = std::max(longest, parts.objective->size(part).input);
    }
  }
  return longest;
}

/// Shows what will be done, and sets what follows from it.
void show_summary(const RunConfig& config, const RunParts& parts, const train::StepPlan& steps) {
  const SummaryInput input{config, parts.base, *parts.method, parts.train, parts.eval_set(), steps.total_steps(), longest_batch(parts)};
  const MemoryPlan memory = plan_memory(input);
  for (const std::string& line : summary_lines(input, memory)) {
    log::info(line);
  }
  parts.objective->set_recompute(memory.recompute);
}

/// Says whose lines follow, where there are several adapters.
void announce_adapter(const config::RunList& list, size_t index) {
  if (list.runs.size() > 1) {
    log::info("adapter " + std::to_string(index + 1) + " of " + std::to_string(list.runs.size()) + ": " + list.runs[index].adapter_name);
  }
}

void show_dry_run(const RunConfig& config, RunParts& parts, const train::StepPlan& steps) {
  if (parts.eva) {  // with the ranks as they are before the look at the data
    parts.method = peft::attach_lora(*config.adapter, *parts.base.model, parts.base_reference(config), config.training.seed);
  }
  show_summary(config, parts, steps);
  std::cout << dry_run_report(*parts.method, parts.train, parts.tokenizer.get(), log::is_terminal() && isatty(STDOUT_FILENO) == 1)
            << std::flush;
}

void dry_run(const config::RunList& list) {
  for (const RunConfig& config : list.runs) {
    check_output_folder(config.output_dir);
  }
  const std::unique_ptr<RunParts> parts = load_run_parts(list.runs.front());
  for (size_t i = 0; i < list.runs.size(); ++i) {
    announce_adapter(list, i);
    parts->prepare(list.runs[i]);
    const train::StepPlan steps(*parts->objective, list.runs[i].training);
    optim::check_schedule(complete_schedule(list.runs[i].training, steps.total_steps()), list.runs[i].training.learning_rate);
    show_dry_run(list.runs[i], *parts, steps);
  }
}

/// What a run of the list has before any of them begins.
struct PlannedRun {
  std::unique_ptr<RunFolder> folder;
  RunIdentity identity;
  RunPlan plan;
};

/// Everything that can be wrong with any run is found before the first one trains for hours.
void plan_runs(const config::RunList& list, const RunParts& parts, const TrainRequest& request, std::vector<PlannedRun>& planned) {
  const train::StepPlan steps(*parts.objective, list.runs.front().training);
  for (size_t i = 0; i < list.runs.size(); ++i) {
    const RunConfig& config = list.runs[i];
    optim::check_schedule(complete_schedule(config.training, steps.total_steps()), config.training.learning_rate);
    if (i > 0) {  // the first is attached already
      peft::check_targets(parts.adapter_options(config), *parts.base.model);
    }
    planned[i].identity = identify_run(config.resolved, parts.hashes(config));
    planned[i].plan = planned[i].folder->plan(planned[i].identity, request.resume, request.overwrite);
  }
}

void train(const config::RunList& list, const TrainRequest& request) {
  // The folders are taken first: a second run on one must fail at once, not after loading.
  std::vector<PlannedRun> planned(list.runs.size());
  for (size_t i = 0; i < list.runs.size(); ++i) {
    planned[i].folder = std::make_unique<RunFolder>(list.runs[i].output_dir);
  }
  const std::unique_ptr<RunParts> parts = load_run_parts(list.runs.front());
  plan_runs(list, *parts, request, planned);
  for (size_t i = 0; i < list.runs.size(); ++i) {
    const RunConfig& config = list.runs[i];
    announce_adapter(list, i);
    if (planned[i].plan.start == RunStart::kFinished) {
      log::info("this run has already finished; its result is in " + config.output_dir.string() + " (--resume never trains it anew)");
      continue;
    }
    parts->prepare(config);
    if (parts->eva) {
      attach_from_data(config, *parts, planned[i].plan.checkpoint);
    }
    train::StepPlan steps(*parts->objective, config.training);
    show_summary(config, *parts, steps);
    train_run(config, *parts, steps, *planned[i].folder, planned[i].identity, planned[i].plan);
  }
}

}  // namespace

int train_command(const TrainRequest& request) {
  if (request.print_schema) {
    std::cout << config::run_config_schema().dump(2) << std::endl;
    return 0;
  }
  config::RunList list = config::load_runs(request.config, request.overrides, request.surroundings);
  for (RunConfig& config : list.runs) {
    config.allow_other_base = request.allow_other_base;
  }
  if (request.print_config) {
    std::cout << list.resolved.dump(2) << std::endl;
    return 0;
  }
  if (list.runs.size() > 1 && request.resume != "auto" && request.resume != "never") {
    config_error("--resume", "found a checkpoint beside several adapters, expected auto or never");
  }
  install_interrupt_handlers();
  if (list.runs.front().training.deterministic) {
    nn::make_deterministic();
  }
  request.dry_run ? dry_run(list) : train(list, request);
  return 0;
}

}  // namespace lora::app
