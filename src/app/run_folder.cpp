#include "run_folder.h"

#include <torch/version.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "companions.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/checkpoint/checkpoint.h"

namespace lora::app {

namespace {

const char* const kRunFile = "run.json";

/// The lock's folder must exist first.
const fs::path& prepared(const fs::path& folder) {
  make_writable_folder(folder);
  return folder;
}

/// run.json's "run_id", or "" where there is no such file or it cannot be read.
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

std::string text_at(const Json& object, const char* key) {
  return object.is_object() && object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : "";
}

/// A checkpoint that the user named.
RunPlan resume_from(const fs::path& checkpoint, const RunIdentity& identity) {
  const std::string fault = checkpoint::fault(checkpoint);
  if (!fault.empty()) {
    config_error("--resume", "cannot go on from '" + checkpoint.string() + "': " + fault);
  }
  if (checkpoint::load_state(checkpoint).run_id != identity.id) {
    config_error("--resume",
                 "'" + checkpoint.string() +
                     "' is another run's: its config, base model, tokenizer or data differ from this one's. Use its own config, or "
                     "adapter.init_from to start anew from its weights");
  }
  return {RunStart::kResume, checkpoint};
}

}  // namespace

RunIdentity identify_run(const Json& config, const Json& hashes) {
  Json counted = config;
  counted.erase("output_dir");
  for (const char* key : {"logging_steps", "save_steps", "save_total_limit", "report_to", "profile"}) {
    counted["training"].erase(key);
  }
  counted["data"].erase("cache_dir");
  // Files count by their content, so that a run can move with its folder.
  counted["model"].erase("path");
  counted["model"].erase("tokenizer");
  if (counted["adapter"].is_object()) {
    counted["adapter"].erase("init_from");
    counted["adapter"].erase("base_model_name_or_path");
  }
  for (const char* set : {"train", "eval"}) {
    for (Json& source : counted["data"][set]) {
      source.erase("path");
    }
  }
  std::string contents;
  for (const auto& [what, files] : hashes.items()) {
    contents += what;
    for (const auto& [place, file] : files.items()) {
      contents += ":" + (file.is_object() ? file["sha256"] : file).get<std::string>();
    }
  }
  return {sha256(counted.dump() + contents), hashes};
}

void check_output_folder(const fs::path& folder) {
  fs::path existing = folder;
  while (!fs::exists(existing) && existing.has_parent_path() && existing != existing.parent_path()) {
    existing = existing.parent_path();
  }
  if (!fs::is_directory(existing)) {
    output_error(folder.string(), "cannot be made: found '" + existing.string() + "', which is no folder");
  }
  if (access(existing.c_str(), W_OK | X_OK) != 0) {
    output_error(folder.string(), "cannot be written: '" + existing.string() + "': " + std::strerror(errno));
  }
}

Json hash_files(const std::vector<fs::path>& files) {
  Json hashes = Json::object();
  for (const fs::path& file : files) {
    check_interrupt();
    hashes[file.filename().string()] = sha256_of_file(file, ErrorKind::kModel);
  }
  return hashes;
}

RunFolder::RunFolder(const fs::path& folder) : folder_(prepared(folder)), lock_(folder) {
  remove_leftovers(folder_);
}

std::vector<fs::path> RunFolder::run_files() const {
  std::vector<fs::path> found;
  for (const char* name :
       {kRunFile, "metrics.jsonl", "adapter_config.json", "adapter_model.safetensors", "config.json", "model.safetensors"}) {
    if (fs::exists(folder_ / name)) {
      found.push_back(folder_ / name);
    }
  }
  if (fs::exists(folder_ / "model.safetensors")) {
    // A fully fine-tuned folder: what was copied beside the weights belongs to them.
    for (const fs::path& file : own_companion_files(folder_)) {
      found.push_back(folder_ / file);
    }
  } else if (fs::exists(folder_ / "adapter_model.safetensors")) {
    for (const char* name : {"chat_template.jinja", "additional_chat_templates"}) {
      if (fs::exists(folder_ / name)) {
        found.push_back(folder_ / name);
      }
    }
  }
  for (const int64_t step : checkpoint::steps(folder_)) {
    found.push_back(checkpoint::folder(folder_, step));
  }
  return found;
}

bool RunFolder::has_result() const {
  const auto has = [this](const char* weights, const char* config) {
    return fs::exists(folder_ / weights) && fs::exists(folder_ / config);
  };
  return has("adapter_model.safetensors", "adapter_config.json") || has("model.safetensors", "config.json");
}

void RunFolder::clear(const fs::path& but) const {
  for (const fs::path& file : run_files()) {
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

RunPlan RunFolder::plan(const RunIdentity& identity, const std::string& resume, bool overwrite) {
  const bool named = resume != "auto" && resume != "never";
  const RunPlan fresh_or_named = named ? resume_from(resume, identity) : RunPlan{};
  const std::vector<fs::path> files = run_files();
  if (files.empty()) {
    return fresh_or_named;
  }
  const Json run = read_run_file(folder_);
  const bool is_ours = text_at(run, "run_id") == identity.id;
  if (!is_ours && !overwrite) {
    output_error(folder_.string(),
                 "holds another run's files: found " + files.front().filename().string() +
                     (run.is_null() ? " without a readable run.json" : " of a run with another config, base model, tokenizer or data") +
                     ". Choose another output_dir, or --overwrite to remove them");
  }
  if (!is_ours || resume == "never") {
    clear(fresh_or_named.checkpoint);
    return fresh_or_named;
  }
  if (named) {
    return fresh_or_named;
  }
  if (text_at(run, "status") == "finished" && has_result()) {
    return {RunStart::kFinished, {}};
  }
  if (const auto newest = checkpoint::newest_valid(folder_)) {
    if (checkpoint::load_state(*newest).run_id == identity.id) {
      return {RunStart::kResume, *newest};
    }
  }
  log::info("the earlier try in " + folder_.string() + " left no valid checkpoint: starting anew");
  clear({});
  return {};
}

void RunFolder::remove_checkpoints_after(int64_t step) const {
  for (const int64_t later : checkpoint::steps(folder_)) {
    if (later > step) {
      fs::remove_all(checkpoint::folder(folder_, later));
    }
  }
}

void RunFolder::write(const RunIdentity& identity, const Json& config, const std::string& status, const Json& result) const {
  Json run;
  run["status"] = status;
  run["run_id"] = identity.id;
  run["versions"] = {{"lora-train", LORA_VERSION}, {"libtorch", TORCH_VERSION}};
  run["sha256"] = identity.hashes;
  run["config"] = config;
  run["memory"] = memory_;
  run["result"] = result;
  write_file_atomically(folder_ / kRunFile, run.dump(2) + "\n");
}

}  // namespace lora::app
