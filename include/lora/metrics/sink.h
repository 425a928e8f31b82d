#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "lora/base/json.h"

namespace lora::metrics {

/// Receives the metrics of a run, one row at a time. A row is a flat JSON object whose first key is "step".
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void write(const Json& row) = 0;
};

/// What sinks know about their run.
struct SinkOptions {
  std::filesystem::path folder;  ///< the run's, for files
  int64_t resumed_step = 0;      ///< step of the checkpoint that the run resumes from; 0: it starts anew
  int64_t total_steps = 0;
  std::string unit = "tokens";  ///< what is counted per second
};

/// The values of training.report_to besides "none": the sinks that a run has only if it asks for them.
std::vector<std::string> sink_names();

/// The files and folders that sinks write into the folder of a run.
std::vector<std::string> sink_files();

/// The sinks that every run has, and those of these names. Throws output Error if one cannot be opened.
std::vector<std::unique_ptr<Sink>> make_sinks(const std::vector<std::string>& report_to, const SinkOptions& options);

/// metrics.jsonl: one line per row, flushed. Rows after `resumed_step` that an earlier attempt left are removed (0: all of them), and so
/// is an incomplete last line.
std::unique_ptr<Sink> make_jsonl_sink(const std::filesystem::path& file, int64_t resumed_step);

/// One plain line on stderr per row: "step 10/200  loss 2.3145  lr 1.0e-04  …". `unit`: what is counted per second.
std::unique_ptr<Sink> make_console_sink(int64_t total_steps, const std::string& unit = "tokens");

}  // namespace lora::metrics
