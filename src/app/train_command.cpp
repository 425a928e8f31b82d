#include "lora/app/train_command.h"

#include <algorithm>

#include "app/eva_pass.h"
#include "app/memory_plan.h"
#include "app/preview.h"
#include "app/run_batches.h"
#include "app/run_folder.h"
#include "app/run_parts.h"
#include "app/run_prompts.h"
#include "app/run_stages.h"
#include "app/summary.h"
#include "app/training_run.h"
#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/terminal.h"
#include "lora/checkpoint/checkpoint.h"
#include "lora/nn/device.h"
#include "lora/optim/schedule.h"

namespace lora::app {

namespace {

using config::RunConfig;

/// The batch size and the recomputation: from the config, from the available memory, or from the checkpoint of a resumed run.
/// `found` is a batch size that an earlier run of the list chose, if any.
MemoryPlan fit_into_memory(const RunConfig& config, const RunParts& parts, const RunPlan& plan,
                           std::optional<int64_t> found = std::nullopt) {
  if (config.training.finds_batch_size && plan.start == RunStart::kResume) {
    found = checkpoint::load_state(plan.checkpoint).batch_size;
  }
  return plan_memory({config, *parts.base.model, *parts.method, *parts.objective, parts.rows->train, parts.rows->eval_set(),
                      usable_memory_bytes(parts.base.model->device()), found});
}

/// Throws output Error if a run of the list cannot write into the folder for its optimiser's state. Creates nothing.
void require_state_folders(const config::RunList& list) {
  for (const RunConfig& config : list.runs) {
    if (const std::filesystem::path& folder = config.training.optimizer.state_file; !folder.empty()) {
      require_output_folder(folder);
    }
  }
}

/// Prints the summary of the run.
void show_summary(const RunConfig& config, const RunParts& parts, const train::StepPlan& steps, const MemoryPlan& memory) {
  const SummaryInput input{config,
                           parts.base,
                           *parts.method,
                           parts.rows->train,
                           parts.rows->eval_set(),
                           parts.rows->label_set(),
                           parts.prompts.summary,
                           steps.total_steps()};
  for (const std::string& line : summary_lines(input, memory)) {
    log::info(line);
  }
}

void require_valid_schedule(const RunConfig& config, const train::StepPlan& steps) {
  optim::require_valid_schedule(complete_schedule(config.training, steps.total_steps()), config.training.learning_rate);
}

/// Accumulating more batches than an epoch has makes each epoch a single step, which is probably not intended.
void warn_of_accumulation(const RunConfig& config, train::StepPlan& steps) {
  const int64_t needed = config.training.gradient_accumulation_steps;
  const auto first = static_cast<int64_t>(steps.micro_batches(0).size());
  if (first < needed) {
    log::warn("[training.gradient_accumulation_steps] exceeds the length of an epoch: found " + std::to_string(needed) +
              ", expected at most " + counted(first, "batch", "batches") + ". Each epoch is a single step.");
  }
}

/// With several adapters, prints the name of the one whose lines follow.
void announce_adapter(const config::RunList& list, size_t index) {
  if (list.runs.size() > 1) {
    log::info("Adapter " + std::to_string(index + 1) + " of " + std::to_string(list.runs.size()) + ": " + list.runs[index].adapter_name);
  }
}

std::string finished_line(const RunConfig& config, const RunPlan& plan) {
  return "This run has already finished" + (plan.changes.empty() ? "" : " (" + plan.changes + ")") + "; its result is in " +
         config.output_dir.string() + ". Use --resume never to train again from the start.";
}

/// Prints what the run would do with the files in its folder. Throws what the run would throw.
void require_startable(const RunConfig& config, RunHashes& hashes, const TrainRequest& request, int64_t total_steps) {
  const bool is_named = request.resume != "auto" && request.resume != "never";
  if (!is_named && !has_run_files(config.output_dir)) {
    return;  // no need to hash files
  }
  const RunPlan plan = plan_run(config.output_dir, identify_run(config.resolved, hashes.of(config)), request.resume, request.overwrite);
  require_room(plan, total_steps);
  if (plan.start == RunStart::kFinished) {
    log::info(finished_line(config, plan));
  } else if (plan.start == RunStart::kResume) {
    log::info("resume       from " + plan.checkpoint.string());
  } else if (plan.clears) {
    log::info("output_dir   the files of a run in " + config.output_dir.string() + " would be removed");
  }
}

void show_dry_run(const RunConfig& config, RunParts& parts, RunHashes& hashes, const TrainRequest& request) {
  if (starts_from_data(config)) {
    attach_initial_ranks(config, parts);
  }
  const MemoryPlan memory = fit_into_memory(config, parts, {});
  train::StepPlan steps = plan_steps(config, parts.rows->train, memory.batch_size, *comm::make_single_process());
  require_valid_schedule(config, steps);
  warn_of_accumulation(config, steps);
  show_summary(config, parts, steps, memory);
  require_startable(config, hashes, request, steps.total_steps());
  terminal::print(dry_run_report(*parts.method, parts.rows->train, parts.rows->label_set(), parts.tokenizer.get(),
                                 terminal::shows_colours()));
}

void dry_run(const config::RunList& list, const TrainRequest& request) {
  for (const RunConfig& config : list.runs) {
    require_output_folder(config.output_dir);
  }
  RunParts parts = load_run(list.runs.front());
  require_one_template(list.runs, parts.prompts.serves_pairs());
  RunHashes hashes(parts);
  for (size_t i = 0; i < list.runs.size(); ++i) {
    announce_adapter(list, i);
    if (i > 0) {
      switch_run(list.runs[i - 1], list.runs[i], parts);
    }
    show_dry_run(list.runs[i], parts, hashes, request);
  }
}

/// What each run of the list needs before the first one starts.
struct PlannedRun {
  std::unique_ptr<RunFolder> folder;  ///< null in all but the first of several processes
  RunIdentity identity;
  RunPlan plan;
};

/// Checks every run, so that mistakes in later ones are reported before the first one trains for hours.
void plan_runs(const config::RunList& list, RunParts& parts, const TrainRequest& request, const comm::Communicator& communicator,
               std::vector<PlannedRun>& planned) {
  const RunConfig& first = list.runs.front();
  // The number of steps depends on the batch size.
  const int64_t batch_size =
      first.training.finds_batch_size ? fit_into_memory(first, parts, {}).batch_size : first.training.per_device_train_batch_size;
  RunHashes hashes(parts);
  const train::StepPlan steps = plan_steps(first, parts.rows->train, batch_size, communicator);
  for (size_t i = 0; i < list.runs.size(); ++i) {
    const RunConfig& config = list.runs[i];
    require_valid_schedule(config, steps);
    if (i > 0) {  // the first is already attached
      require_attachable(config, parts);
    }
    planned[i].identity = identify_run(config.resolved, hashes.of(config));
    planned[i].plan = plan_run(config.output_dir, planned[i].identity, request.resume, request.overwrite);
    if (!config.training.finds_batch_size) {
      require_room(planned[i].plan, steps.total_steps());
    }
  }
  for (const PlannedRun& run : planned) {
    if (run.folder) {
      run.folder->prepare(run.plan);
    }
  }
}

void train(const config::RunList& list, const TrainRequest& request) {
  const auto communicator = comm::make_single_process();
  // Lock the folders first: a second run on one of them must fail at once, not after loading.
  std::vector<PlannedRun> planned(list.runs.size());
  for (size_t i = 0; i < list.runs.size(); ++i) {
    planned[i].folder = communicator->is_first() ? std::make_unique<RunFolder>(list.runs[i].output_dir) : nullptr;
  }
  RunParts parts = load_run(list.runs.front());
  require_one_template(list.runs, parts.prompts.serves_pairs());
  plan_runs(list, parts, request, *communicator, planned);
  std::optional<int64_t> found;
  size_t attached = 0;  ///< the run whose adapter is on the model
  for (size_t i = 0; i < list.runs.size(); ++i) {
    const RunConfig& config = list.runs[i];
    announce_adapter(list, i);
    if (planned[i].plan.start == RunStart::kFinished) {
      log::info(finished_line(config, planned[i].plan));
      continue;
    }
    if (i != attached) {
      switch_run(list.runs[attached], config, parts);
      attached = i;
    }
    if (starts_from_data(config)) {
      attach_from_data(config, parts, planned[i].plan.checkpoint);
    }
    const MemoryPlan memory = fit_into_memory(config, parts, planned[i].plan, found);
    found = config.training.finds_batch_size ? std::optional(memory.batch_size) : std::nullopt;  // a run must not depend on the others
    train::StepPlan steps = plan_steps(config, parts.rows->train, memory.batch_size, *communicator);
    require_valid_schedule(config, steps);
    require_room(planned[i].plan, steps.total_steps());
    warn_of_accumulation(config, steps);
    show_summary(config, parts, steps, memory);
    train_run(config, parts, steps, {planned[i].folder.get(), planned[i].identity, planned[i].plan}, memory, *communicator);
  }
}

}  // namespace

int train_command(const TrainRequest& request) {
  if (request.print_schema) {
    terminal::print_json(config::run_config_schema());
    return 0;
  }
  config::RunList list = config::load_runs(request.config, request.overrides, request.surroundings);
  for (RunConfig& config : list.runs) {
    config.allow_other_base = request.allow_other_base;
  }
  if (request.print_config) {
    terminal::print_json(list.resolved);
    return 0;
  }
  if (list.runs.size() > 1 && request.resume != "auto" && request.resume != "never") {
    config_error("--resume", "found a checkpoint with several adapters, expected auto or never");
  }
  require_one_template(list.runs);
  require_state_folders(list);
  if (list.runs.front().training.deterministic) {
    nn::make_deterministic();
  }
  request.dry_run ? dry_run(list, request) : train(list, request);
  return 0;
}

}  // namespace lora::app
