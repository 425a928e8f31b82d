#include "run_folder.h"

#include <torch/version.h>

#include <algorithm>

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
    config_error("--resume", "'" + checkpoint.string() +
                                 "' is another run's: its config, base model, tokenizer or data differ from this one's. Use its own config, or "
                                 "adapter.init_from to start anew from its weights");
  }
  return {RunStart::kResume, checkpoint};
}

}  // namespace

RunIdentity identify_run(const Json& config, const Json& hashes) {
  Json counted = config;
  counted.erase("output_dir");
  for (const char* key : {"logging_steps", "save_steps", "save_total_limit", "report_to"}) {
    counted["training"].erase(key);
  }
  return {sha256(counted.dump() + hashes.dump()), hashes};
}

Json hash_files(const std::vector<fs::path>& files) {
  Json hashes = Json::object();
  for (const fs::path& file : files) {
    check_interrupt();
    hashes[file.filename().string()] = sha256_of_file(file, ErrorKind::kModel);
  }
  return hashes;
}

RunFolder::RunFolder(const fs::path& folder) : folder_(prepared(folder)), lock_(folder) { remove_leftovers(folder_); }

std::vector<fs::path> RunFolder::run_files() const {
  std::vector<fs::path> found;
  for (const char* name : {kRunFile, "metrics.jsonl", "adapter_config.json", "adapter_model.safetensors", "config.json", "model.safetensors"}) {
    if (fs::exists(folder_ / name)) {
      found.push_back(folder_ / name);
    }
  }
  for (const int64_t step : checkpoint::steps(folder_)) {
    found.push_back(checkpoint::folder(folder_, step));
  }
  return found;
}

void RunFolder::clear() const {
  for (const fs::path& file : run_files()) {
    std::error_code error;
    fs::remove_all(file, error);
    if (error) {
      output_error(folder_.string(), "cannot remove '" + file.filename().string() + "': " + error.message());
    }
  }
}

RunPlan RunFolder::plan(const RunIdentity& identity, const std::string& resume, bool overwrite) {
  if (resume != "auto" && resume != "never") {
    return resume_from(resume, identity);
  }
  const std::vector<fs::path> files = run_files();
  if (files.empty()) {
    return {};
  }
  const Json run = read_run_file(folder_);
  if (text_at(run, "run_id") != identity.id) {
    if (!overwrite) {
      output_error(folder_.string(), "holds another run's files: found " + files.front().filename().string() +
                                         (run.is_null() ? " without a readable run.json" : " of a run with another config, base model, tokenizer or data") +
                                         ". Choose another output_dir, or --overwrite to remove them");
    }
    clear();
    return {};
  }
  if (resume == "never") {
    clear();
    return {};
  }
  if (text_at(run, "status") == "finished") {
    return {RunStart::kFinished, {}};
  }
  if (const auto newest = checkpoint::newest_valid(folder_)) {
    if (checkpoint::load_state(*newest).run_id == identity.id) {
      return {RunStart::kResume, *newest};
    }
  }
  log::info("the earlier try in " + folder_.string() + " left no valid checkpoint: starting anew");
  clear();
  return {};
}

void RunFolder::write(const RunIdentity& identity, const Json& config, const std::string& status, const Json& result) const {
  Json run;
  run["status"] = status;
  run["run_id"] = identity.id;
  run["versions"] = {{"lora-train", LORA_VERSION}, {"libtorch", TORCH_VERSION}};
  run["sha256"] = identity.hashes;
  run["config"] = config;
  run["result"] = result;
  write_file_atomically(folder_ / kRunFile, run.dump(2) + "\n");
}

}  // namespace lora::app
