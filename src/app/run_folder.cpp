#include "app/run_folder.h"

#include <linux/magic.h>
#include <sys/statfs.h>
#include <torch/version.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "app/companions.h"
#include "app/pipeline_result.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/checkpoint/checkpoint.h"
#include "lora/metrics/sink.h"
#include "lora/peft/file_names.h"

namespace lora::app {

namespace {

const char* const kRunFile = "run.json";

/// Creates the folder, which must exist before it can be locked.
const fs::path& prepared(const fs::path& folder) {
  make_writable_folder(folder);
  return folder;
}

/// run.json, or null if it does not exist or cannot be read.
Json read_run_file(const fs::path& folder) {
  const fs::path file = folder / kRunFile;
  if (!fs::exists(file)) {
    return Json();
  }
  try {
    return read_json(file, ErrorKind::kOutput);
  } catch (const Error&) {
    return Json();
  }
}

/// Whether a file system of this type (statfs) only shows the kernel's state: no file can be created there, whatever its permissions.
bool holds_no_files(long type) {
  constexpr std::array kTypes{PROC_SUPER_MAGIC, SYSFS_MAGIC,   CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC,
                              DEBUGFS_MAGIC,    TRACEFS_MAGIC, SECURITYFS_MAGIC,   DEVPTS_SUPER_MAGIC};
  return std::find(kTypes.begin(), kTypes.end(), type) != kTypes.end();
}

std::string text_at(const Json& object, const char* key) {
  return object.is_object() && object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : "";
}

/// "training.seed: 1 there, 2 here; …"
std::string differences_text(const std::vector<std::string>& found) {
  constexpr size_t kNamed = 5;
  return found.empty() ? "nothing that its run.json records: another version of this program wrote it" : join(found, "; ", kNamed);
}

/// Whether early stopping ended the run at this checkpoint.
bool stopped_early(const fs::path& newest, const Json& run) {
  const Json patience = run.value("/config/training/early_stopping_patience"_json_pointer, Json());
  return patience.is_number_integer() && checkpoint::load_state(newest).evaluations_without_gain >= patience.get<int64_t>();
}

/// The plan for a checkpoint that the user named.
RunPlan resume_from(const fs::path& checkpoint, const RunIdentity& identity) {
  const std::string fault = fs::is_directory(checkpoint) ? checkpoint::fault(checkpoint) : "the folder does not exist";
  if (!fault.empty()) {
    config_error("--resume", "cannot resume from '" + checkpoint.string() + "': " + fault);
  }
  const Json run = read_run_file(fs::absolute(checkpoint).lexically_normal().parent_path());
  if (checkpoint::load_state(checkpoint).run_id != identity.id) {
    const bool tells = !run.is_null() && !differences(run, identity).empty();
    config_error("--resume", "'" + checkpoint.string() + "' belongs to another run: " +
                                 (tells ? "it differs in " + differences_text(differences(run, identity))
                                        : "its config, base model, tokenizer or data are different") +
                                 ". Use that run's config, or set adapter.init_from to start a new run from its weights.");
  }
  return {RunStart::kResume, checkpoint, /*clears=*/false, run.is_null() ? "" : join(differences_of_length(run, identity), ", ")};
}

}  // namespace

void require_output_folder(const fs::path& folder) {
  fs::path existing = folder;
  while (!fs::exists(existing) && existing.has_parent_path() && existing != existing.parent_path()) {
    existing = existing.parent_path();
  }
  if (!fs::is_directory(existing)) {
    output_error(folder.string(), "cannot be created: found '" + existing.string() + "', which is not a folder");
  }
  if (access(existing.c_str(), W_OK | X_OK) != 0) {
    output_error(folder.string(), "cannot be written: '" + existing.string() + "': " + std::strerror(errno));
  }
  struct statfs system = {};
  if (statfs(existing.c_str(), &system) == 0 && holds_no_files(system.f_type)) {
    output_error(folder.string(), "cannot be created: '" + existing.string() + "' is in a file system of the kernel, which holds no files");
  }
}

namespace {

/// The images of training.sample. If the folder is a symbolic link, what it points to does not belong to the run.
std::vector<fs::path> sample_files(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  if (fs::is_symlink(folder / kSamplesFolder, error)) {
    return found;
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(folder / kSamplesFolder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && name.ends_with(".png")) {
      found.push_back(entry.path());
    }
  }
  return found;
}

/// Everything in a folder that a run may have written.
std::vector<fs::path> run_files(const fs::path& folder) {
  std::vector<fs::path> found;
  std::vector<std::string> names{kRunFile};
  const std::vector<std::string> of_sinks = metrics::sink_files();
  names.insert(names.end(), of_sinks.begin(), of_sinks.end());
  names.insert(names.end(), {peft::kAdapterConfigFile, peft::kAdapterWeightsFile, peft::kPromptEncoderFile, peft::kBottleneckWeightsFile,
                             peft::kHeadConfigFile, peft::kHeadWeightsFile, "config.json", "model.safetensors"});
  for (const std::string& name : names) {
    if (fs::exists(folder / name)) {
      found.push_back(folder / name);
    }
  }
  if (fs::exists(folder / "model.safetensors")) {
    // The result of full fine-tuning: the files that were copied with the weights belong to the run.
    for (const fs::path& file : own_companion_files(folder)) {
      found.push_back(folder / file);
    }
  } else if (fs::exists(folder / peft::kAdapterWeightsFile) || fs::exists(folder / peft::kBottleneckWeightsFile)) {
    for (const char* name : {"chat_template.jinja", "additional_chat_templates"}) {
      if (fs::exists(folder / name)) {
        found.push_back(folder / name);
      }
    }
  }
  const std::vector<fs::path> of_pipeline = pipeline_parts(folder), images = sample_files(folder);
  found.insert(found.end(), of_pipeline.begin(), of_pipeline.end());
  found.insert(found.end(), images.begin(), images.end());
  for (const int64_t step : checkpoint::steps(folder)) {
    found.push_back(checkpoint::folder(folder, step));
  }
  return found;
}

bool has_result(const fs::path& folder) {
  const auto has = [&folder](const char* weights, const char* config) {
    return fs::exists(folder / weights) && fs::exists(folder / config);
  };
  return has(peft::kAdapterWeightsFile, peft::kAdapterConfigFile) || has(peft::kBottleneckWeightsFile, peft::kAdapterConfigFile) ||
         has("model.safetensors", "config.json") || fs::exists(folder / kPipelineIndex);  // which is written last
}

[[noreturn]] void fail_other_run(const fs::path& folder, const fs::path& first_file, const Json& run, const RunIdentity& identity) {
  const std::vector<std::string> found = differences(run, identity);
  output_error(folder.string(),
               "holds another run's files: found " + first_file.filename().string() +
                   (run.is_null() ? " without a readable run.json" : " of a run that differs in " + differences_text(found)) +
                   ". Choose another output_dir, or use --overwrite to remove them.");
}

/// The newest valid checkpoint in the folder, if it belongs to this run.
std::optional<fs::path> own_checkpoint(const fs::path& folder, const RunIdentity& identity) {
  const auto newest = checkpoint::newest_valid(folder);
  return newest && checkpoint::load_state(*newest).run_id == identity.id ? newest : std::nullopt;
}

/// The plan for a run whose own files are in the folder.
RunPlan plan_own(const fs::path& folder, const Json& run, const RunIdentity& identity) {
  const std::vector<std::string> length = differences_of_length(run, identity), evaluation = differences_of_evaluation(run, identity);
  const bool has_ended = text_at(run, "status") == "finished" && has_result(folder);
  if (has_ended && length.empty() && evaluation.empty()) {
    return {RunStart::kFinished};
  }
  const std::optional<fs::path> newest = own_checkpoint(folder, identity);
  if (newest && !(has_ended && length.empty() && !stopped_early(*newest, run))) {
    return {RunStart::kResume, *newest, /*clears=*/false, join(length, ", ")};
  }
  if (has_ended && !length.empty()) {
    output_error(folder.string(), "holds this run, finished with a different length (" + join(length, ", ") +
                                      "), and no checkpoint to resume from. Choose another output_dir and set adapter.init_from to start "
                                      "from its weights, or use --resume never to train again from the start.");
  }
  if (has_ended) {
    return {RunStart::kFinished, {}, /*clears=*/false, join(evaluation, ", ")};
  }
  log::info("No valid checkpoint of this run in " + folder.string() + ": training from the start");
  return {RunStart::kFresh, {}, /*clears=*/true};
}

}  // namespace

RunPlan plan_run(const fs::path& folder, const RunIdentity& identity, const std::string& resume, bool overwrite) {
  const bool named = resume != "auto" && resume != "never";
  RunPlan plan = named ? resume_from(resume, identity) : RunPlan{};
  const std::vector<fs::path> files = run_files(folder);
  if (files.empty()) {
    return plan;
  }
  const Json run = read_run_file(folder);
  const bool is_ours = text_at(run, "run_id") == identity.id;
  if (!is_ours && !overwrite) {
    fail_other_run(folder, files.front(), run, identity);
  }
  if (!is_ours || resume == "never") {
    plan.clears = true;
    return plan;
  }
  return named ? plan : plan_own(folder, run, identity);
}

bool has_run_files(const fs::path& folder) {
  return !run_files(folder).empty();
}

void require_room(const RunPlan& plan, int64_t total_steps) {
  if (plan.start != RunStart::kResume) {
    return;
  }
  const int64_t done = checkpoint::load_state(plan.checkpoint).step;
  if (done > total_steps) {
    output_error(plan.checkpoint.string(), "the checkpoint is beyond the end of this run: found step " + std::to_string(done) +
                                               ", expected at most " + std::to_string(total_steps) +
                                               (plan.changes.empty() ? "" : " (" + plan.changes + ")") +
                                               ". Choose another output_dir, resume from an earlier checkpoint with --resume, or use "
                                               "--resume never to train again from the start.");
  }
}

RunFolder::RunFolder(const fs::path& folder) : folder_(prepared(folder)), lock_(folder) {
  remove_leftovers(folder_);
}

void RunFolder::prepare(const RunPlan& plan) const {
  if (!plan.clears) {
    return;
  }
  const fs::path& but = plan.checkpoint;
  for (const fs::path& file : run_files(folder_)) {
    std::error_code error;
    if (!but.empty() && fs::equivalent(file, but, error)) {
      continue;
    }
    fs::remove_all(file, error);
    if (error) {
      output_error(folder_.string(), "cannot remove '" + file.filename().string() + "': " + error.message());
    }
  }
}

void RunFolder::remove_checkpoints_after(int64_t step) const {
  for (const int64_t later : checkpoint::steps(folder_)) {
    if (later > step) {
      fs::remove_all(checkpoint::folder(folder_, later));
    }
  }
}

void RunFolder::write(const RunIdentity& identity, const Json& config, const RunFigures& figures, const std::string& status,
                      const Json& result) const {
  Json run;
  run["status"] = status;
  run["run_id"] = identity.id;
  run["versions"] = {{"lora-train", LORA_VERSION}, {"libtorch", TORCH_VERSION}};
  run["sha256"] = identity.hashes;
  run["config"] = config;
  run["memory"] = figures.memory;
  run["model"] = figures.model;
  run["result"] = result;
  write_file_atomically(folder_ / kRunFile, run.dump(2) + "\n");
}

}  // namespace lora::app
