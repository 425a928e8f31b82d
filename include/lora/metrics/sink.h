#pragma once
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

/// metrics.jsonl: one line per row, flushed. Rows after `resumed_step` that an earlier attempt left are removed (0: all of them), and so
/// is an incomplete last line.
std::unique_ptr<Sink> make_jsonl_sink(const std::filesystem::path& file, int64_t resumed_step);

/// One plain line on stderr per row: "step 10/200  loss 2.3145  lr 1.0e-04  …". `unit`: what is counted per second.
std::unique_ptr<Sink> make_console_sink(int64_t total_steps, const std::string& unit = "tokens");

}  // namespace lora::metrics
