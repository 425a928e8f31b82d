#include "lora/app/train_command.h"

#include "app/find_learning_rate.h"
#include "app/preview.h"
#include "app/run_batches.h"
#include "app/run_folder.h"
#include "app/run_parts.h"
#include "app/run_prompts.h"
#include "app/run_series.h"
#include "app/run_stages.h"
#include "app/sweep.h"
#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/terminal.h"
#include "lora/nn/device.h"

namespace lora::app {

namespace {

using config::RunConfig;

/// Throws output Error if a run of the list cannot write into the folder for its optimiser's state. Creates nothing.
void require_state_folders(const config::RunList& list) {
  for (const RunConfig& config : list.runs) {
    if (const std::filesystem::path& folder = config.training.optimizer.state_file; !folder.empty()) {
      require_output_folder(folder);
    }
  }
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
  show_run(config, parts, steps, memory);
  require_startable(config, hashes, request, steps.total_steps());
  const std::optional<ImagePreview> images = image_preview(config);
  terminal::print(dry_run_report(*parts.method, parts.rows->train, parts.rows->label_set(), parts.tokenizer.get(),
                                 images ? &*images : nullptr, terminal::shows_colours()));
}

void dry_run(const config::RunList& list, const TrainRequest& request) {
  for (const RunConfig& config : list.runs) {
    require_output_folder(config.output_dir);
  }
  RunParts parts = load_run(list.runs.front());
  require_one_template(list.runs, parts.prompts.serves_pairs());
  RunHashes hashes(parts);
  for (size_t i = 0; i < list.runs.size(); ++i) {
    announce_run(list, i);
    if (i > 0) {
      switch_run(list.runs[i - 1], list.runs[i], parts);
    }
    show_dry_run(list.runs[i], parts, hashes, request);
  }
}

void train(const config::RunList& list, const TrainRequest& request) {
  RunSeries series(list, request.resume, request.overwrite);
  if (list.sweep.empty()) {
    for (size_t i = 0; i < series.size(); ++i) {
      series.train(i);
    }
  } else {
    train_sweep(list, series, request.sweep_halving);
  }
}

void require_one_run(const config::RunList& list) {
  if (list.runs.size() > 1) {
    config_error("--find-learning-rate", "tests one run: found " + std::to_string(list.runs.size()));
  }
}

}  // namespace

int train_command(const TrainRequest& request) {
  if (request.print_schema) {
    terminal::print_json(config::run_config_schema());
    return 0;
  }
  config::RunList list = config::load_runs(request.config, request.overrides, request.surroundings, request.sweeps);
  for (RunConfig& config : list.runs) {
    config.allow_other_base = request.allow_other_base;
  }
  if (request.print_config) {
    terminal::print_json(list.resolved);
    return 0;
  }
  if (list.runs.size() > 1 && request.resume != "auto" && request.resume != "never") {
    config_error("--resume", "found a checkpoint with several " + std::string(list.sweep.empty() ? "adapters" : "runs") +
                                 ", expected auto or never");
  }
  if (request.sweep_halving) {
    require_comparable(list);
  }
  require_one_template(list.runs);
  require_state_folders(list);
  if (list.runs.front().training.deterministic) {
    nn::make_deterministic();
  }
  if (request.find_learning_rate) {
    require_one_run(list);
    find_learning_rate(list.runs.front());
  } else {
    request.dry_run ? dry_run(list, request) : train(list, request);
  }
  return 0;
}

}  // namespace lora::app
