#include <algorithm>
#include <array>
#include <string_view>

#include "lora/metrics/sink.h"

namespace lora::metrics {
namespace {

struct SinkEntry {
  std::string_view name;
  bool is_always_on;      ///< otherwise only if training.report_to names it
  std::string_view file;  ///< the file or folder that it writes into the run's folder; empty: none
  std::unique_ptr<Sink> (*make)(const SinkOptions& options);
};

/// All sinks. A row goes to each of a run's sinks in this order.
constexpr std::array<SinkEntry, 2> kSinks{{
    {"jsonl", /*is_always_on=*/true, "metrics.jsonl",
     [](const SinkOptions& options) { return make_jsonl_sink(options.folder / "metrics.jsonl", options.resumed_step); }},
    {"console", /*is_always_on=*/true, "",
     [](const SinkOptions& options) { return make_console_sink(options.total_steps, options.unit); }},
}};

}  // namespace

std::vector<std::string> sink_names() {
  std::vector<std::string> names;
  for (const SinkEntry& entry : kSinks) {
    if (!entry.is_always_on) {
      names.emplace_back(entry.name);
    }
  }
  return names;
}

std::vector<std::string> sink_files() {
  std::vector<std::string> files;
  for (const SinkEntry& entry : kSinks) {
    if (!entry.file.empty()) {
      files.emplace_back(entry.file);
    }
  }
  return files;
}

std::vector<std::unique_ptr<Sink>> make_sinks(const std::vector<std::string>& report_to, const SinkOptions& options) {
  std::vector<std::unique_ptr<Sink>> sinks;
  for (const SinkEntry& entry : kSinks) {
    if (entry.is_always_on || std::find(report_to.begin(), report_to.end(), entry.name) != report_to.end()) {
      sinks.push_back(entry.make(options));
    }
  }
  return sinks;
}

}  // namespace lora::metrics
