#include "app/inspect_run.h"

#include <algorithm>
#include <optional>

#include "app/inspect_adapter.h"
#include "app/inspect_model.h"
#include "app/text_table.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/folder_lock.h"
#include "lora/base/input_file.h"
#include "lora/base/text.h"
#include "lora/checkpoint/checkpoint.h"
#include "lora/peft/file_names.h"

namespace lora::app {

namespace {

/// The result of `make`, or {"error": …} if it throws.
template <typename Make>
Json facts_or_error(const Make& make) {
  try {
    return make();
  } catch (const Error& error) {
    return {{"error", error.what()}};
  }
}

/// The trained adapter or model in a folder; null if there is none.
Json result_facts(const fs::path& folder) {
  if (fs::exists(folder / peft::kAdapterConfigFile)) {
    return facts_or_error([&] { return adapter_facts(folder); });
  }
  return fs::exists(folder / "config.json") ? facts_or_error([&] { return model_facts(folder); }) : Json(nullptr);
}

std::string result_text(const Json& facts, bool colour) {
  if (facts.is_null()) {
    return "";
  }
  if (facts.contains("error")) {
    return "\ndamaged      " + facts["error"].get<std::string>() + "\n";
  }
  return "\n" + (facts["kind"] == "adapter" ? adapter_text(facts, colour) : model_text(facts, colour));
}

template <typename Value>
Json or_null(const std::optional<Value>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json state_facts(const fs::path& folder) {
  const checkpoint::TrainerState state = checkpoint::load_state(folder);
  return {{"step", state.step},
          {"epoch", state.epoch},
          {"best_metric", or_null(state.best_metric)},
          {"best_step", or_null(state.best_step)},
          {"last_eval_loss", or_null(state.last_eval_loss)},
          {"evaluations_without_gain", state.evaluations_without_gain},
          {"run_id", state.run_id}};
}

/// The state and manifest of a checkpoint, without its adapter or model.
Json short_checkpoint_facts(const fs::path& folder) {
  const std::string fault = checkpoint::fault(folder);
  return {{"path", folder.string()},
          {"manifest_holds", fault.empty()},
          {"fault", fault.empty() ? Json(nullptr) : Json(fault)},
          {"state", facts_or_error([&] { return state_facts(folder); })}};
}

/// The first, last and smallest value of one metric in metrics.jsonl.
class Course {
 public:
  explicit Course(std::string key) : key_(std::move(key)) {}

  void add(const Json& row) {
    const auto value = row.find(key_);
    if (value == row.end() || !value->is_number()) {
      return;
    }
    const Json point{{"step", row.value("step", Json(nullptr))}, {key_, *value}};
    if (count_++ == 0) {
      first_ = smallest_ = point;
    }
    last_ = point;
    if (value->get<double>() < smallest_[key_].get<double>()) {
      smallest_ = point;
    }
  }
  Json facts() const {
    return count_ == 0 ? Json(nullptr) : Json{{"rows", count_}, {"first", first_}, {"last", last_}, {"min", smallest_}};
  }

 private:
  std::string key_;
  int64_t count_ = 0;
  Json first_, last_, smallest_;
};

Json metrics_facts(const fs::path& file) {
  if (!fs::exists(file)) {
    return nullptr;
  }
  Course loss("loss");
  Course eval_loss("eval_loss");
  const std::vector<std::string> lines = split(read_file(file, ErrorKind::kModel, kMetrics), '\n');
  for (size_t i = 0; i + 1 < lines.size(); ++i) {  // a last line without an end was cut off when the run was killed
    const Json row = parse_json(lines[i], file.string(), ErrorKind::kModel, static_cast<int64_t>(i) + 1);
    if (row.is_object()) {
      loss.add(row);
      eval_loss.add(row);
    }
  }
  return {{"loss", loss.facts()}, {"eval_loss", eval_loss.facts()}};
}

Json run_file_facts(const fs::path& file) {
  if (!fs::exists(file)) {
    return nullptr;
  }
  const Json run = read_json(file, ErrorKind::kModel);
  const JsonReader reader(run, file.string(), ErrorKind::kModel);
  std::string status = reader.string("status");
  if (status == "running" && !is_locked(file.parent_path())) {
    status = "killed";
  }
  return {{"status", status}, {"run_id", reader.string("run_id", "")}, {"result", run.value("result", Json::object())}};
}

std::string value_text(const Json& value) {
  return value.is_number_float() ? short_number(value.get<double>()) : value.dump();
}

std::string state_text(const Json& checkpoint) {
  const Json& state = checkpoint["state"];
  if (state.contains("error")) {
    return "state        damaged: " + state["error"].get<std::string>() + "\n";
  }
  std::string text = "step         " + state["step"].dump() + ", epoch " + value_text(state["epoch"]) + "\n";
  if (!state["best_metric"].is_null()) {
    text += "best         eval_loss " + value_text(state["best_metric"]) + " at step " + state["best_step"].dump() + "\n";
  }
  return text;
}

std::string manifest_text(const Json& checkpoint) {
  return checkpoint["manifest_holds"].get<bool>() ? "valid" : "invalid: " + checkpoint["fault"].get<std::string>();
}

std::string course_text(const std::string& key, const Json& course) {
  if (course.is_null()) {
    return "";
  }
  const auto point = [&](const char* which) { return value_text(course[which][key]) + " (step " + course[which]["step"].dump() + ")"; };
  const std::string title = key + std::string(13 - std::min<size_t>(key.size(), 12), ' ');
  return title + "first " + point("first") + ", last " + point("last") + ", min " + point("min") + "\n";
}

std::string status_text(const Json& run) {
  if (run.is_null()) {
    return "status       no run.json\n";
  }
  if (run.contains("error")) {
    return "status       damaged: " + run["error"].get<std::string>() + "\n";
  }
  std::string text = "status       " + run["status"].get<std::string>() +
                     (run["status"] == "killed" ? " (run.json says running, but no process holds the folder's lock)" : "") + "\n";
  for (const auto& [key, value] : run["result"].items()) {
    text += "             " + key + " " + value_text(value) + "\n";
  }
  return text;
}

}  // namespace

Json checkpoint_facts(const std::filesystem::path& folder) {
  Json facts{{"kind", "checkpoint"}};
  facts.update(short_checkpoint_facts(folder));
  facts["trained"] = result_facts(folder);
  return facts;
}

std::string checkpoint_text(const Json& facts, bool colour) {
  return "checkpoint   " + facts["path"].get<std::string>() + "\n" + state_text(facts) + "manifest     " + manifest_text(facts) + "\n" +
         result_text(facts["trained"], colour);
}

Json run_facts(const std::filesystem::path& folder) {
  Json checkpoints = Json::array();
  for (const int64_t step : checkpoint::steps(folder)) {
    checkpoints.push_back(short_checkpoint_facts(checkpoint::folder(folder, step)));
  }
  return {{"kind", "run"},
          {"path", folder.string()},
          {"run", facts_or_error([&] { return run_file_facts(folder / "run.json"); })},
          {"metrics", facts_or_error([&] { return metrics_facts(folder / "metrics.jsonl"); })},
          {"checkpoints", checkpoints},
          {"trained", result_facts(folder)}};
}

std::string run_text(const Json& facts, bool colour) {
  std::string text = "run          " + facts["path"].get<std::string>() + "\n" + status_text(facts["run"]);
  const Json& metrics = facts["metrics"];
  if (metrics.is_object() && metrics.contains("error")) {
    text += "metrics      damaged: " + metrics["error"].get<std::string>() + "\n";
  } else if (metrics.is_object()) {
    text += course_text("loss", metrics["loss"]) + course_text("eval_loss", metrics["eval_loss"]);
  }
  for (const Json& checkpoint : facts["checkpoints"]) {
    const Json& state = checkpoint["state"];
    text += "checkpoint   " + fs::path(checkpoint["path"].get<std::string>()).filename().string() +
            (state.contains("epoch") ? ", epoch " + value_text(state["epoch"]) : "") + ": manifest " + manifest_text(checkpoint) + "\n";
  }
  return text + result_text(facts["trained"], colour);
}

std::vector<fs::path> run_folders(const fs::path& folder) {
  std::vector<fs::path> runs;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_directory(ignored) && fs::exists(entry->path() / "run.json", ignored)) {
      runs.push_back(entry->path());
    }
  }
  std::sort(runs.begin(), runs.end());
  return runs;
}

Json several_runs_facts(const fs::path& folder) {
  Json runs = Json::array();
  for (const fs::path& run : run_folders(folder)) {
    runs.push_back(run_facts(run));
  }
  return {{"kind", "runs"}, {"path", folder.string()}, {"runs", runs}};
}

std::string several_runs_text(const Json& facts, bool colour) {
  std::string text = "runs         " + facts["path"].get<std::string>() + ": " + std::to_string(facts["runs"].size()) + "\n";
  for (const Json& run : facts["runs"]) {
    text += "\n" + run_text(run, colour);
  }
  return text;
}

}  // namespace lora::app
